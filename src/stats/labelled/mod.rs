//! How well a model did, once the labels are there (statistics.md §6). All of it from sums of counts, so that
//! replicas and panes add up; labels that came late are added like any other.

mod auc;
mod brier;
mod classes;
mod jackknife;

pub use auc::{Auc, auc};
pub use brier::SquaredErrors;
pub use classes::{ClassCounts, accuracy, f1, macro_f1, precision, recall};
pub use jackknife::{Jackknife, jackknife};
