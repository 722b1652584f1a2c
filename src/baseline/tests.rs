//! Building, writing and reading back, on files as other programs write them.

use super::*;
use crate::cells::MAX_CATEGORIES;
use polars::prelude::{
    Column, CsvWriter, DataFrame, DataType, IpcWriter, NamedFrom, ParquetWriter, SerWriter, Series,
};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn options() -> BuildOptions {
    BuildOptions {
        model: "fraud".to_owned(),
        version: "v1".to_owned(),
        predictions: Vec::new(),
        include: Vec::new(),
        exclude: Vec::new(),
        held_out: true,
        created: EventTime(1_790_000_000_123),
        types: Vec::new(),
        time: None,
    }
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn parquet(folder: &TempDir, columns: Vec<Series>) -> PathBuf {
    let path = folder.path().join("train.parquet");
    let mut frame = frame(columns);
    let file = std::fs::File::create(&path).expect("created");
    ParquetWriter::new(file).with_row_group_size(Some(1000)).finish(&mut frame).expect("written");
    path
}

fn frame(columns: Vec<Series>) -> DataFrame {
    DataFrame::new_infer_height(columns.into_iter().map(Column::from).collect()).expect("one height")
}

fn built(path: &Path, options: &BuildOptions) -> BuildReport {
    build(path, options, &mut |_, _, _| {}).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(path: &Path, options: &BuildOptions) -> String {
    build(path, options, &mut |_, _, _| {}).expect_err("refused").to_string()
}

fn only(columns: Vec<Series>, of: SeriesOf) -> BaselineSeries {
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = options();
    if of == SeriesOf::Prediction {
        options.predictions = vec![columns[0].name().to_string()];
    }
    let report = built(&parquet(&folder, columns), &options);
    assert_eq!(report.left_out, []);
    BaselineSeries::clone(&report.baseline.series[0])
}

fn cuts(series: &BaselineSeries) -> &[f64] {
    match series.grid.as_ref() {
        Grid::Numeric(grid) => grid.cuts(),
        other => panic!("{other:?}"),
    }
}

fn categories(series: &BaselineSeries) -> &crate::cells::Categories {
    match series.grid.as_ref() {
        Grid::Categorical(categories) => categories,
        other => panic!("{other:?}"),
    }
}

/// Counts by the definition of a cell, value by value.
fn naive_counts(cuts: &[f64], values: &[f64]) -> Vec<u64> {
    let mut counts = vec![0; 2 * cuts.len() + 1];
    for value in values {
        let below = cuts.partition_point(|cut| cut < value);
        counts[below + cuts.partition_point(|cut| cut <= value)] += 1;
    }
    counts
}

/// A stretched, skewed sample with every value once.
fn skewed(n: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * 7919 % n) as f64 / n as f64 * 8.0).exp() - 3.0).collect()
}

#[test]
fn up_to_2048_distinct_values_every_value_is_a_cut() {
    let values: Vec<f64> = (0..6144).map(|i| f64::from(i % 2048) * 0.5).collect();
    let series = only(vec![Series::new("x".into(), &values)], SeriesOf::Feature);
    assert_eq!(cuts(&series).len(), 2048);
    assert_eq!((series.distinct, series.range), (2048, Some((0.0, 1023.5))));
    assert!(
        series.counts.iter().enumerate().all(|(cell, count)| *count == if cell % 2 == 1 { 3 } else { 0 })
    );
}

#[test]
fn above_2048_distinct_values_no_gap_holds_a_1024th() {
    let mut values = skewed(20_000);
    values.extend([12.5; 400]); // an atom of more than a 1024th
    let series = only(vec![Series::new("x".into(), &values)], SeriesOf::Feature);
    let mut sorted = values.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    let m = sorted.len();
    let cuts = cuts(&series);
    assert!(cuts.contains(&sorted[0]) && cuts.contains(&sorted[m - 1]) && cuts.contains(&12.5));
    assert!((1..10).all(|i| cuts.contains(&sorted[(i * m).div_ceil(10) - 1])));
    assert!(series.counts.iter().step_by(2).all(|gap| gap * 1024 < m as u64));
    assert_eq!(series.counts, naive_counts(cuts, &values));
    assert_eq!((series.distinct, series.n()), (20_001, m as u64));
    assert!(cuts.len() <= 2_010, "{}", cuts.len());
    // guards reach a thousand scales beyond training on both sides
    assert!(cuts[0] < sorted[0] - 1_000.0 && cuts[cuts.len() - 1] > sorted[m - 1] + 1_000.0);
    assert_eq!(series.range, Some((sorted[0], sorted[m - 1])));
}

#[test]
fn predictions_have_cuts_at_every_pit_level() {
    let values = skewed(5_000);
    let series = only(vec![Series::new("score".into(), &values)], SeriesOf::Prediction);
    let mut sorted = values;
    sorted.sort_unstable_by(f64::total_cmp);
    assert_eq!(series.of, SeriesOf::Prediction);
    assert!((1..256).all(|i| cuts(&series).contains(&sorted[(i * 5_000usize).div_ceil(256) - 1])));
}

#[test]
fn a_spread_of_zero_between_the_quartiles_still_gets_guards() {
    let mut values = vec![0.0; 30_000];
    values.extend(skewed(3_000));
    let series = only(vec![Series::new("x".into(), &values)], SeriesOf::Feature);
    assert!(cuts(&series)[0] < -1_000.0);
    assert_eq!(series.counts, naive_counts(cuts(&series), &values));
}

#[test]
fn infinite_values_are_cuts_and_leave_the_rest_alone() {
    let mut values = skewed(4_000);
    values.extend([f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -0.0]);
    let series = only(vec![Series::new("x".into(), &values)], SeriesOf::Feature);
    values.retain(|value| !value.is_nan());
    assert_eq!(series.range, Some((f64::NEG_INFINITY, f64::INFINITY)));
    assert_eq!((series.missing, series.n()), (1, 4_003));
    assert_eq!(series.counts, naive_counts(cuts(&series), &values));
}

#[test]
fn a_constant_column_is_kept() {
    let series = only(vec![Series::new("x".into(), vec![7i32; 50])], SeriesOf::Feature);
    assert_eq!((cuts(&series), &series.counts[..]), (&[7.0][..], &[0, 50, 0][..]));
}

#[test]
fn the_255_most_frequent_strings_have_cells_and_the_rest_share_one() {
    let values: Vec<String> =
        (0..300).flat_map(|i| std::iter::repeat_n(format!("c{i:03}"), 2 + usize::from(i == 299))).collect();
    let series = only(vec![Series::new("city".into(), &values)], SeriesOf::Feature);
    let categories = categories(&series);
    assert_eq!(categories.named().len(), MAX_CATEGORIES);
    assert_eq!((categories.named()[0].as_str(), categories.named()[1].as_str()), ("c299", "c000"));
    assert_eq!(categories.others().len(), 45);
    assert_eq!((series.counts[0], series.counts[255], series.counts[256]), (3, 90, 0));
    assert_eq!((series.distinct, series.n()), (300, 601));
}

#[test]
fn identifiers_are_left_out_unless_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let ids: Vec<String> = (0..400).map(|i| format!("id-{i}")).collect();
    let amounts: Vec<f64> = (0..400).map(f64::from).collect();
    let columns = vec![Series::new("id".into(), &ids), Series::new("amount".into(), &amounts)];
    let path = parquet(&folder, columns);
    let report = built(&path, &options());
    assert_eq!(report.baseline.series.len(), 1);
    assert!(report.left_out[0].0 == "id" && report.left_out[0].1.contains("nearly all distinct"));
    let report = built(&path, &BuildOptions { include: names(&["id"]), ..options() });
    assert_eq!((report.baseline.series.len(), report.left_out.len()), (2, 0));
    let report = built(&path, &BuildOptions { exclude: names(&["id"]), ..options() });
    assert_eq!(report.left_out, [("id".to_owned(), "excluded on request".to_owned())]);
}

#[test]
fn more_than_65536_names_are_refused_even_when_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let ids: Vec<String> = (0..70_000).map(|i| i.to_string()).collect();
    let path =
        parquet(&folder, vec![Series::new("id".into(), &ids), Series::new("x".into(), vec![1i8; 70_000])]);
    assert!(built(&path, &options()).left_out[0].1.contains("65536"));
    let text = refusal(&path, &BuildOptions { include: names(&["id"]), ..options() });
    assert!(text.contains("column id is asked for by --include") && text.contains("65536"), "{text}");
}

#[test]
fn options_that_fit_no_column_or_each_other_are_errors() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = parquet(&folder, vec![Series::new("a".into(), [1, 2]), Series::new("b".into(), [1, 2])]);
    let text = refusal(&path, &BuildOptions { predictions: names(&["score", "a"]), ..options() });
    assert_eq!(
        text,
        "--predictions names score, which the training data does not have; its columns are a, b"
    );
    let both = BuildOptions { predictions: names(&["a"]), exclude: names(&["a"]), ..options() };
    assert_eq!(refusal(&path, &both), "column a is named by both --predictions and --exclude");
}

/// The columns of tests/fixtures/training_types.*, which pyarrow wrote.
fn check_every_type(path: &Path, last: &str, left_out_last: (&str, &str)) {
    let report = built(path, &options());
    let kept: Vec<&str> = report.baseline.series.iter().map(|series| series.name.as_str()).collect();
    let expected = ["int8", "uint64", "int64_small", "float32", "float64", "bool", "string", "large_string"];
    assert_eq!((&kept[..8], kept[kept.len() - 1]), (&expected[..], last));
    if let Some(category) = report.baseline.find(SeriesOf::Feature, "category") {
        assert_eq!((&category.counts[..], category.missing), (&[4, 3, 0, 0][..], 1));
    }
    let find = |name| report.baseline.find(SeriesOf::Feature, name).expect("kept");
    assert_eq!(cuts(find("float32"))[1], f64::from(0.1f32));
    assert_eq!(cuts(find("float64")), [f64::NEG_INFINITY, 0.0, 5e-324, 1.0, f64::INFINITY]);
    assert_eq!((find("float64").missing, &find("float64").counts[..4]), (2, &[0, 1, 0, 2][..]));
    assert_eq!(find("int64_small").range, Some((-9_007_199_254_740_992.0, 9_007_199_254_740_992.0)));
    assert_eq!((&find("bool").counts[..], find("bool").missing), (&[3, 4][..], 1));
    assert_eq!(
        (categories(find("string")).named().to_vec(), find("string").missing),
        (names(&["a", "b", "c"]), 1)
    );
    let left_out =
        |name| report.left_out.iter().find(|(column, _)| column == name).map(|(_, reason)| reason.as_str());
    for (name, word) in [
        ("int64_large", "beyond 2^53"),
        ("uint64_large", "beyond 2^53"),
        left_out_last,
        ("date", "dates"),
        ("timestamp", "timestamps"),
        ("timestamp_zone", "timestamps"),
        ("time", "times of day"),
        ("duration", "durations"),
        ("decimal", "decimals"),
        ("binary", "binary"),
        ("fixed_binary", "binary"),
        ("list", "nested"),
        ("fixed_list", "nested"),
        ("struct", "nested"),
        ("map", "nested"),
        ("float16", "16-bit"),
        ("null", "missing"),
        ("all_null", "missing"),
        ("all_nan", "missing"),
    ] {
        assert!(left_out(name).is_some_and(|reason| reason.contains(word)), "{name}: {:?}", left_out(name));
    }
    assert_eq!(kept.len() + report.left_out.len(), 28);
    let text = refusal(path, &BuildOptions { predictions: names(&["decimal"]), ..options() });
    assert!(
        text.starts_with("column decimal is asked for by --predictions and cannot be monitored"),
        "{text}"
    );
}

#[test]
fn every_parquet_type_is_taken_exactly_or_refused_by_name() {
    let path = fixture("training_types.parquet");
    // Parquet keeps the categories of numbers as the numbers they are
    check_every_type(&path, "number_category", ("null", "missing"));
}

#[test]
fn every_arrow_type_is_taken_exactly_or_refused_by_name() {
    let path = fixture("training_types.arrow");
    check_every_type(&path, "large_string", ("number_category", "not strings"));
    let report = built(&path, &options());
    let category = report.left_out.iter().find(|(name, _)| name == "category").expect("left out");
    assert!(category.1.contains("write the data as Parquet"), "{category:?}");
}

#[test]
fn polars_files_with_categoricals_and_moments_are_read_alike_in_both_formats() {
    let folder = tempfile::tempdir().expect("a folder");
    let category = Series::new("c".into(), ["x", "y", "x", "z"]);
    let global = DataType::from_categories(polars::prelude::Categories::global());
    let day = Series::new("day".into(), [1i32, 2, 3, 4]).cast(&DataType::Date).expect("a date");
    let columns =
        vec![category.cast(&global).expect("categorical"), day, Series::new("n".into(), [1u8, 2, 3, 4])];
    let path = parquet(&folder, columns.clone());
    let ipc = folder.path().join("train.arrow");
    IpcWriter::new(std::fs::File::create(&ipc).expect("created"))
        .finish(&mut frame(columns))
        .expect("written");
    let report = built(&path, &options());
    assert_eq!(report, built(&ipc, &options()));
    assert_eq!(categories(&report.baseline.series[0]).named(), ["x", "y", "z"]);
    assert_eq!(report.left_out[0].0, "day");
}

#[test]
fn the_columns_of_a_csv_are_what_all_their_values_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("train.csv");
    let text = "int,float,flag,zip,word,large,mixed,empty,inf\n\
                1,0.1,true,0800,a,9007199254740993,1,,inf\n\
                2,NaN,False,8001,b,1,x,,-inf\n\
                ,1e-3,,8002,\"a,b\",12345678901234567890123,2.5,,1\n";
    std::fs::write(&path, text).expect("written");
    let report = built(&path, &options());
    let kinds: Vec<(&str, SeriesKind, u64)> = report
        .baseline
        .series
        .iter()
        .map(|series| (series.name.as_str(), series.kind, series.missing))
        .collect();
    let expected = [
        ("int", SeriesKind::Numeric, 1),
        ("float", SeriesKind::Numeric, 1),
        ("flag", SeriesKind::Boolean, 1),
        ("zip", SeriesKind::Categorical, 0),
        ("word", SeriesKind::Categorical, 0),
        ("mixed", SeriesKind::Categorical, 0),
        ("inf", SeriesKind::Numeric, 0),
    ];
    assert_eq!(kinds, expected);
    assert_eq!(cuts(&report.baseline.series[1]), [0.001, 0.1]);
    let left_out: Vec<&str> = report.left_out.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(left_out, ["large", "empty"]);
}

#[test]
fn a_csv_and_a_parquet_file_of_the_same_numbers_make_the_same_baseline() {
    let folder = tempfile::tempdir().expect("a folder");
    let columns = vec![
        Series::new("x".into(), skewed(3_000)),
        Series::new("k".into(), (0..3_000).collect::<Vec<i32>>()),
    ];
    let csv = folder.path().join("train.csv");
    let file = std::fs::File::create(&csv).expect("created");
    CsvWriter::new(file).finish(&mut frame(columns.clone())).expect("written");
    assert_eq!(built(&csv, &options()), built(&parquet(&folder, columns), &options()));
}

#[test]
fn files_that_are_no_training_data_are_said_to_be_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        refusal(&path, &options())
    };
    assert!(write("a.parquet", b"a,b\n1,2\n").contains("does not begin with PAR1"));
    assert!(write("b.parquet", b"PAR1 and then nothing").contains("cannot be read as Parquet"));
    assert!(write("c.arrow", b"ARROW1 and then nothing").contains("cannot be read as Arrow IPC"));
    assert!(write("d.csv", b"\x1f\x8b\x08rest").contains("compressed"));
    assert!(write("e.ndjson", b"{\"a\": 1}\n").contains("JSON"));
    assert!(write("f.csv", b"a,b\n").contains("no rows"));
    assert!(write("g.csv", b"").contains("cannot be read as CSV"));
    assert!(write("h.csv", b"a\n\"\"\n").contains("no column that can be monitored"));
    assert!(write("i.csv", b"a\n\xff\xfe\n").contains("cannot be read as CSV"));
    assert!(refusal(&folder.path().join("none.csv"), &options()).contains("none.csv cannot be opened"));
}

#[test]
fn progress_names_every_column_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = parquet(&folder, vec![Series::new("a".into(), [1, 2]), Series::new("b".into(), [1, 2])]);
    let mut heard = Vec::new();
    build(&path, &options(), &mut |name, done, total| heard.push((name.to_owned(), done, total)))
        .expect("built");
    assert_eq!(heard, [("a".to_owned(), 0, 2), ("b".to_owned(), 1, 2)]);
}

fn round_trip_baseline() -> Baseline {
    let folder = tempfile::tempdir().expect("a folder");
    let n = 6_000;
    let mut values = skewed(n);
    values[3] = f64::INFINITY;
    values[4] = f64::NEG_INFINITY;
    values[5] = 5e-324;
    let cities: Vec<Option<String>> =
        (0..n).map(|i| (i % 10 != 0).then(|| format!("c{}", i % 701))).collect();
    let flags: Vec<bool> = (0..n).map(|i| i % 3 == 0).collect();
    let columns = vec![
        Series::new("x".into(), &values),
        Series::new("city".into(), &cities),
        Series::new("flag".into(), &flags),
        Series::new("score".into(), (0..n).map(|i| (i as f64).sqrt()).collect::<Vec<f64>>()),
        Series::new(
            "empty".into(),
            (0..n).map(|i| if i % 2 == 0 { "" } else { "é\n" }).collect::<Vec<&str>>(),
        ),
    ];
    let options = BuildOptions { predictions: names(&["score"]), ..options() };
    built(&parquet(&folder, columns), &options).baseline
}

#[test]
fn what_is_written_is_read_back_bit_by_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("fraud-v1.parquet");
    let baseline = round_trip_baseline();
    file::write(&baseline, &path).expect("written");
    let read = file::read(&path).expect("read");
    assert_eq!(read, baseline);
    for (a, b) in read.series.iter().zip(&baseline.series) {
        assert_eq!(a.grid.hash(), b.grid.hash());
    }
    // replaced at once, and nothing is left beside it
    file::write(&baseline, &path).expect("written again");
    assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 1);
}

#[test]
fn a_damaged_baseline_is_refused_and_never_panics() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("b.parquet");
    let baseline = round_trip_baseline();
    file::write(&baseline, &path).expect("written");
    let bytes = std::fs::read(&path).expect("read");
    let damaged = folder.path().join("damaged.parquet");
    for length in (0..bytes.len()).step_by(bytes.len() / 50) {
        std::fs::write(&damaged, &bytes[..length]).expect("written");
        let text = file::read(&damaged).expect_err("refused").to_string();
        assert!(text.contains("damaged.parquet is not a usable baseline"), "{text}");
    }
    for (from, to, word) in [
        (&b"\"format\":1"[..], &b"\"format\":2"[..], "format 2"),
        (b"tidegate.baseline", b"tidegate.basement", "no baseline metadata"),
        (b"\"rows\":6000", b"\"rows\":6001", "do not add up"),
        (b"\"distinct\":2,", b"\"distinct\":9,", ""),
    ] {
        std::fs::write(&damaged, replaced(&bytes, from, to)).expect("written");
        match file::read(&damaged) {
            Err(error) => assert!(error.to_string().contains(word), "{error}"),
            Ok(_) => assert_eq!(word, ""),
        }
    }
    let hash = format!("{:016x}", baseline.series[0].grid.hash());
    std::fs::write(&damaged, replaced(&bytes, hash.as_bytes(), b"0123456789abcdef")).expect("written");
    let text = file::read(&damaged).expect_err("refused").to_string();
    assert!(text.contains("the grid of series x does not have the hash"), "{text}");
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from).expect("found");
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

#[test]
fn other_files_are_not_baselines() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = parquet(&folder, vec![Series::new("a".into(), [1, 2])]);
    assert!(file::read(&path).expect_err("refused").to_string().contains("no baseline metadata"));
    assert!(
        file::read(&folder.path().join("none"))
            .expect_err("refused")
            .to_string()
            .contains("cannot be opened")
    );
}

#[test]
fn counts_that_contradict_themselves_are_not_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut baseline = round_trip_baseline();
    baseline.rows += 1;
    let path = folder.path().join("b.parquet");
    let text = file::write(&baseline, &path).expect_err("refused").to_string();
    assert!(text.contains("do not add up"), "{text}");
    assert!(!path.exists());
}
