//! Tests that may be looked at again and again while a rollout runs.
//!
//! A canary is compared with the stable arm after every pane. A test for a fixed sample size would reject a
//! healthy one sooner or later; the tests here keep their level over all looks together:
//!
//! - [`boundary`]: how large a difference of distributions must be at any look (Kiefer and Pocock's boundary);
//! - [`stratified`]: that difference, pane by pane, so that common drift and changed weights cancel;
//! - [`betting`]: an exact e-process for rates, and for one boundary of a distribution;
//! - [`srm`]: whether the traffic is split as it was set;
//! - [`dispersion`]: how much less than independent values dependent ones are worth (φ);
//! - [`joint`]: how far all inputs together may have moved;
//! - [`holm`]: one level for many series.
//!
//! A state here is plain numbers that grow with the panes added and can be stored and read back. Sums of
//! floating-point numbers depend on the order of their terms: panes are added in the order of time.

pub mod betting;
pub mod boundary;
pub mod dispersion;
pub mod holm;
pub mod joint;
pub mod srm;
pub mod stratified;

#[cfg(test)]
mod clusters_tests;
