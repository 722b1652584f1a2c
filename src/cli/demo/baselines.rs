//! Training data for the demo's baselines: both versions score the same rows, which neither was trained on.

use super::model::{self, CANARY, Features};
use anyhow::Context;
use fastrand::Rng;
use polars::prelude::{Column, DataFrame, ParquetWriter};
use std::fs::File;
use std::path::Path;

/// Rows of training data per version: enough that the baseline's own noise (KS below 0.01) is far below
/// every threshold.
pub const TRAINING_ROWS: usize = 40_000;

/// Columns of the training data that are predictions.
pub const PREDICTIONS: [&str; 2] = ["score", "class"];

/// Keeps training rows apart from traffic of the same seed.
const TRAINING_STREAM: u64 = 0x7469_6465_6761_7465;

/// Writes `rows` scored payments of an ordinary day as a Parquet file: the 12 features, then `score` and
/// `class`. The same seed gives the same rows for both versions.
pub fn write_training_data(path: &Path, version: &str, seed: u64, rows: usize) -> anyhow::Result<()> {
    let mut frame = training_frame(version, seed, rows).context("cannot lay out the demo's training data")?;
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    ParquetWriter::new(file)
        .finish(&mut frame)
        .with_context(|| format!("cannot write the demo's training data to {}", path.display()))?;
    Ok(())
}

fn training_frame(version: &str, seed: u64, rows: usize) -> polars::prelude::PolarsResult<DataFrame> {
    let mut rng = Rng::with_seed(seed ^ TRAINING_STREAM);
    let (features, answers): (Vec<_>, Vec<_>) = (0..rows)
        .map(|_| {
            let features = Features::draw(&mut rng);
            let answer = model::answer(&mut rng, &features, version == CANARY);
            (features, answer)
        })
        .unzip();
    let float = |name: &str, of: fn(&Features) -> f64| {
        Column::new(name.into(), features.iter().map(of).collect::<Vec<_>>())
    };
    let text = |name: &str, of: fn(&Features) -> &'static str| {
        Column::new(name.into(), features.iter().map(of).collect::<Vec<_>>())
    };
    let columns = vec![
        float("amount", |row| row.amount),
        float("account_age_days", |row| row.account_age_days),
        float("distance_km", |row| row.distance_km),
        float("hour", |row| f64::from(row.hour)),
        float("payments_24h", |row| f64::from(row.payments_24h)),
        float("device_trust", |row| row.device_trust),
        float("minutes_since_last", |row| row.minutes_since_last),
        float("merchant_risk", |row| row.merchant_risk),
        text("country", |row| row.country),
        text("merchant", |row| row.merchant),
        text("channel", |row| row.channel),
        Column::new("new_device".into(), features.iter().map(|row| row.new_device).collect::<Vec<_>>()),
        Column::new("score".into(), answers.iter().map(|answer| answer.score).collect::<Vec<_>>()),
        Column::new("class".into(), answers.iter().map(|answer| answer.class).collect::<Vec<_>>()),
    ];
    DataFrame::new(rows, columns)
}

#[cfg(test)]
mod tests {
    use super::super::model::STABLE;
    use super::*;
    use polars::prelude::{ParquetReader, SerReader};

    #[test]
    fn both_versions_score_the_same_rows_differently() {
        let folder = tempfile::tempdir().expect("a folder");
        let read = |version: &str| {
            let path = folder.path().join(format!("{version}.parquet"));
            write_training_data(&path, version, 7, 500).expect("written");
            ParquetReader::new(File::open(path).expect("open")).finish().expect("read")
        };
        let (stable, canary) = (read(STABLE), read(CANARY));
        assert_eq!((stable.height(), stable.width()), (500, 14));
        let same = |name: &str| stable.column(name).expect("there") == canary.column(name).expect("there");
        assert!(same("amount") && same("country") && same("new_device") && !same("score"));
        assert_eq!(stable.get_column_names()[12..], PREDICTIONS);
    }
}
