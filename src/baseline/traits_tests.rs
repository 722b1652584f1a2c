//! Types of series, the width of their numbers, and how far they usually stray.

use super::*;
use crate::cells::{CellCounts, Scratch, count_column};
use arrow::array::Float64Array;
use polars::prelude::{Column, DataFrame, DataType, NamedFrom, ParquetWriter, Series, TimeUnit};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn options() -> BuildOptions {
    BuildOptions {
        model: "fraud".to_owned(),
        version: "v1".to_owned(),
        predictions: Vec::new(),
        include: Vec::new(),
        exclude: Vec::new(),
        held_out: false,
        created: EventTime(0),
        types: Vec::new(),
        time: None,
    }
}

fn typed(column: &str, wanted: SeriesType) -> BuildOptions {
    BuildOptions { types: vec![(column.to_owned(), wanted)], ..options() }
}

fn timed(column: &str) -> BuildOptions {
    BuildOptions { time: Some(TimeOptions { column: column.to_owned(), pane_ms: 3_600_000 }), ..options() }
}

fn parquet(folder: &TempDir, columns: Vec<Series>) -> PathBuf {
    let path = folder.path().join("train.parquet");
    let mut frame =
        DataFrame::new_infer_height(columns.into_iter().map(Column::from).collect()).expect("one height");
    let file = std::fs::File::create(&path).expect("created");
    ParquetWriter::new(file).with_row_group_size(Some(1000)).finish(&mut frame).expect("written");
    path
}

fn built(path: &Path, options: &BuildOptions) -> Baseline {
    build(path, options, &mut |_, _, _| {}).unwrap_or_else(|error| panic!("{error}")).baseline
}

fn refusal(path: &Path, options: &BuildOptions) -> String {
    build(path, options, &mut |_, _, _| {}).expect_err("refused").to_string()
}

fn find<'a>(baseline: &'a Baseline, name: &str) -> &'a BaselineSeries {
    baseline.find(SeriesOf::Feature, name).unwrap_or_else(|| panic!("no series {name}"))
}

/// 400 rows: a number that never comes again, a count, a code of 0 and 1, a name and a truth.
fn mixed(folder: &TempDir) -> PathBuf {
    let numbers: Vec<f64> = (0..400).map(|i| f64::from(i) / 7.0).collect();
    let names: Vec<&str> = (0..400).map(|i| ["a", "b", "c"][i % 3]).collect();
    parquet(
        folder,
        vec![
            Series::new("amount".into(), &numbers),
            Series::new("orders".into(), (0..400).map(|i| i % 12).collect::<Vec<i32>>()),
            Series::new("code".into(), (0..400).map(|i| i % 2).collect::<Vec<i32>>()),
            Series::new("country".into(), &names),
            Series::new("new".into(), (0..400).map(|i| i % 5 == 0).collect::<Vec<bool>>()),
        ],
    )
}

#[test]
fn types_are_told_from_the_values_and_kept_in_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = mixed(&folder);
    let baseline = built(&path, &options());
    let types = |baseline: &Baseline| -> Vec<SeriesType> {
        baseline.series.iter().map(|series| series.series_type()).collect()
    };
    let [continuous, discrete, categorical, boolean] = SeriesType::ALL;
    assert_eq!(types(&baseline), [continuous, discrete, discrete, categorical, boolean]);
    let overridden = built(&path, &typed("amount", discrete));
    assert_eq!(types(&overridden)[0], discrete);
    let file = folder.path().join("b.parquet");
    file::write(&overridden, &file).expect("written");
    assert_eq!(file::read(&file).expect("read"), overridden);
    // A file of an older program has no types: the counts tell.
    let bytes = std::fs::read(&file).expect("read");
    let mut older = bytes.clone();
    let word = b"\"type\":";
    for at in 0..bytes.len() - word.len() {
        if &bytes[at..at + word.len()] == word {
            older[at + 1..at + 5].copy_from_slice(b"none");
        }
    }
    assert_ne!(older, bytes);
    std::fs::write(&file, older).expect("written");
    assert_eq!(file::read(&file).expect("an older file"), baseline);
}

#[test]
fn a_type_that_the_values_allow_can_be_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = mixed(&folder);
    let code = built(&path, &typed("code", SeriesType::Boolean));
    assert_eq!(
        (find(&code, "code").kind, &find(&code, "code").counts[..]),
        (SeriesKind::Boolean, &[200, 200][..])
    );
    let names = built(&path, &typed("orders", SeriesType::Categorical));
    let Grid::Categorical(categories) = find(&names, "orders").grid.as_ref() else { panic!("categories") };
    assert_eq!((categories.named().len(), categories.cell_of("11") < 12), (12, true));
    let truths = built(&path, &typed("new", SeriesType::Categorical));
    assert_eq!(find(&truths, "new").counts, [320, 80, 0, 0]);
    for (column, wanted, words) in [
        (
            "orders",
            SeriesType::Boolean,
            "column orders is asked for by --type and cannot be monitored: it holds numbers other than 0 and 1",
        ),
        ("country", SeriesType::Continuous, "its values are strings"),
        ("new", SeriesType::Discrete, "its values are booleans"),
        ("none", SeriesType::Discrete, "--type names none, which the training data does not have"),
    ] {
        let text = refusal(&path, &typed(column, wanted));
        assert!(text.contains(words), "{text}");
    }
}

/// 72 hours of 100 rows: `x` swings with the hour, `y` does not, `country` is foreign by night.
fn hours(row: usize) -> (f64, f64, &'static str) {
    let (hour, step) = (row / 100, (row * 7_919 % 100) as f64 / 100.0);
    let swing = 0.5 * (std::f64::consts::TAU * hour as f64 / 24.0).sin();
    let mut rng = fastrand::Rng::with_seed(row as u64);
    let foreign = hour % 24 < 12 && rng.bool();
    (step + swing, rng.f64(), if foreign { "foreign" } else { "home" })
}

#[test]
fn rows_with_times_tell_how_far_series_usually_stray() {
    const ROWS: usize = 7_200;
    let folder = tempfile::tempdir().expect("a folder");
    let start = 1_795_000_000_000 / 3_600_000 * 3_600_000i64;
    let at = |row: usize| start + row as i64 * 36_000;
    // Not in the order of time.
    let rows: Vec<usize> = (0..ROWS).map(|row| row * 4_801 % ROWS).collect();
    let column = |of: &dyn Fn(usize) -> f64| rows.iter().map(|&row| of(row)).collect::<Vec<f64>>();
    let moments = Series::new("when".into(), rows.iter().map(|&row| at(row)).collect::<Vec<i64>>())
        .cast(&DataType::Datetime(TimeUnit::Milliseconds, None))
        .expect("moments");
    let countries: Vec<&str> = rows.iter().map(|&row| hours(row).2).collect();
    let path = parquet(
        &folder,
        vec![
            moments,
            Series::new("x".into(), column(&|row| hours(row).0)),
            Series::new("y".into(), column(&|row| hours(row).1)),
            Series::new("country".into(), &countries),
        ],
    );
    let baseline = built(&path, &timed("when"));
    let times = baseline.times.as_ref().expect("times");
    assert_eq!((times.from.0, times.to.0, times.pane_ms), (start, at(ROWS - 1), 3_600_000));
    assert_eq!(baseline.series.len(), 3, "the time is no series");
    let usual = |name: &str| find(&baseline, name).traits.tolerances.clone();
    // 72 blocks of one pane, 18 of four: too few.
    assert_eq!(usual("x").iter().map(|one| (one.scale, one.blocks)).collect::<Vec<_>>(), [(1, 72)]);
    let (x, y, country) = (usual("x")[0].delta, usual("y")[0].delta, usual("country")[0].delta);
    assert!(x > 0.25 && y < 0.2 && (0.2..0.5).contains(&country), "{x} {y} {country}");
    assert_eq!(find(&baseline, "x").tolerance(1).map(|one| one.delta), Some(x));
    assert_eq!(find(&baseline, "x").tolerance(4), None);
    let psi = |name: &str| usual(name)[0].psi.expect("an index");
    assert!(
        psi("x") > 0.5 && psi("y") < 0.25 && psi("country") > 0.2,
        "{} {} {}",
        psi("x"),
        psi("y"),
        psi("country")
    );
    // The same times as text, and through a file.
    let csv = folder.path().join("train.csv");
    let line = |&row: &usize| {
        let text = EventTime(at(row)).to_rfc3339().replace('T', " ").replace(".000Z", "");
        let (x, y, country) = hours(row);
        format!("{text},{x},{y},{country}\n")
    };
    let text: String = rows.iter().map(line).collect();
    std::fs::write(&csv, format!("when,x,y,country\n{text}")).expect("written");
    let of_text = built(&csv, &timed("when"));
    assert_eq!(of_text, baseline);
    let file = folder.path().join("b.parquet");
    file::write(&baseline, &file).expect("written");
    assert_eq!(file::read(&file).expect("read"), baseline);
}

#[test]
fn a_column_that_is_no_time_is_said_to_be_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = mixed(&folder);
    for (column, words) in [
        ("country", "column country is asked for by --time and cannot be monitored: its values are no times"),
        ("new", "its values are no times"),
        ("none", "--time names none, which the training data does not have"),
    ] {
        let text = refusal(&path, &timed(column));
        assert!(text.contains(words), "{text}");
    }
    let both = BuildOptions { predictions: vec!["amount".to_owned()], ..timed("amount") };
    assert_eq!(refusal(&path, &both), "column amount is named by both --predictions and --time");
    let types = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/training_types.parquet");
    let text = refusal(&types, &timed("timestamp_zone"));
    assert!(text.contains("have a time zone; convert them to UTC"), "{text}");
}

#[test]
fn values_of_a_32_bit_baseline_are_rounded_before_they_are_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let tenths: Vec<f32> = (0..1_000).map(|i| (i % 10) as f32 / 10.0).collect();
    let path = parquet(&folder, vec![Series::new("x".into(), &tenths)]);
    let file = folder.path().join("b.parquet");
    file::write(&built(&path, &options()), &file).expect("written");
    let baseline = file::read(&file).expect("read");
    let series = find(&baseline, "x");
    let mut live: Vec<f64> = (0..1_000).map(|i| f64::from(i % 10) / 10.0).collect();
    let count = |live: Vec<Option<f64>>| {
        let (mut counts, array) = (CellCounts::new(series.grid.cells()), Float64Array::from(live));
        let rows = 0..1_000.min(arrow::array::Array::len(&array));
        count_column(&series.grid, series.range, &array, rows, None, &mut Scratch::default(), &mut counts)
            .expect("counted");
        counts
    };
    let counts = count(live.iter().copied().map(Some).collect());
    assert_eq!((&counts.cells, counts.out_of_range), (&series.counts, 0));
    // With nulls between, and what no 32-bit float reaches.
    live[0] = 1e300;
    let mut with_nulls: Vec<Option<f64>> = live.iter().copied().map(Some).collect();
    with_nulls[10] = None;
    let counts = count(with_nulls);
    assert_eq!((counts.missing, counts.out_of_range, counts.non_finite), (1, 1, 0));
    assert_eq!(counts.cells[1], series.counts[1] - 2);
}
