//! The numbers that other tools give on the same two windows, so that whoever changes over can compare.
//!
//! None of it decides anything in Tidegate's own terms: these tools' bins, zeros and thresholds are their own,
//! which is why a PSI of .25 in one is not that of another (one empty decile adds .69 in Evidently and 2.07 in
//! Scouter). What each does is stated where it is reproduced; the expected values of the tests come from numpy
//! and scipy, on which two of the three are built.
//!
//! Numeric tests take a [`Sample`]: raw values, or the cells of a grid, where a value inside a gap stands at
//! the gap's mean. Categories are counts in one order on both sides.

pub mod alibi_detect;
pub mod evidently;
mod one_sample;
mod sample;
mod scipy;
pub mod scouter;

pub use one_sample::one_sample_tail;
pub use sample::Sample;
pub use scipy::{chi_square_contingency, ks_asymptotic, ks_automatic, wasserstein};

#[cfg(test)]
mod fixture;
