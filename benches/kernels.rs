//! The counting and measuring kernels: `cargo bench --bench kernels`.
//!
//! - `rank`: values → rank cells, by number of cuts, beside the standard library's binary search.
//! - `histogram`: an Arrow column → cells, without and with nulls.
//! - `measure`: KS and PSI of 20 numeric series from raw columns (window 10,000 rows, reference 100,000, grids
//!   prebuilt), beside the usual way: sort the window, walk it and the sorted reference together.
//!
//! Figures are per call; the throughput line is values per second.

use arrow::array::{ArrayRef, Float64Array};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use tidegate::cells::{CellCounts, Grid, NumericGrid, Scratch, count_column};
use tidegate::stats::{ks, psi};

const WINDOW: usize = 10_000;
const REFERENCE: usize = 100_000;
const SERIES: usize = 20;
const COLUMN: usize = 65_536;

/// Nearly normal values: the sum of four uniform ones.
fn values(rng: &mut fastrand::Rng, count: usize) -> Vec<f64> {
    (0..count).map(|_| (0..4).map(|_| rng.f64()).sum::<f64>() - 2.0).collect()
}

/// `k` quantile cuts of sorted values, with the smallest and the largest.
fn quantile_grid(sorted: &[f64], k: usize) -> NumericGrid {
    let mut cuts: Vec<f64> = (1..=k).map(|j| sorted[(j * sorted.len()).div_ceil(k + 1) - 1]).collect();
    cuts.extend([sorted[0], sorted[sorted.len() - 1]]);
    NumericGrid::new(cuts)
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values
}

fn rank(criterion: &mut Criterion) {
    let mut rng = fastrand::Rng::with_seed(1);
    let reference = sorted(values(&mut rng, REFERENCE));
    let column = values(&mut rng, COLUMN);
    let mut group = criterion.benchmark_group("rank");
    group.throughput(Throughput::Elements(COLUMN as u64));
    for cuts in [15, 255, 1_024, 2_000] {
        let grid = quantile_grid(&reference, cuts - 2);
        let mut ranks = Vec::new();
        group.bench_function(format!("interleaved/{cuts}"), |bencher| {
            bencher.iter(|| grid.rank_into(black_box(&column), &mut ranks));
        });
        group.bench_function(format!("partition_point/{cuts}"), |bencher| {
            bencher.iter(|| column.iter().map(|&value| u64::from(grid.rank_one(value))).sum::<u64>());
        });
    }
    group.finish();
}

fn histogram(criterion: &mut Criterion) {
    let mut rng = fastrand::Rng::with_seed(2);
    let reference = sorted(values(&mut rng, REFERENCE));
    let range = Some((reference[0], reference[REFERENCE - 1]));
    let grid = Grid::Numeric(quantile_grid(&reference, 1_024));
    let dense = values(&mut rng, COLUMN);
    let holes = dense.iter().map(|&value| (rng.u8(..2) == 0).then_some(value)).collect::<Float64Array>();
    let columns: [(&str, ArrayRef); 2] =
        [("no_nulls", Arc::new(Float64Array::from(dense))), ("half_nulls", Arc::new(holes))];
    let mut group = criterion.benchmark_group("histogram");
    group.throughput(Throughput::Elements(COLUMN as u64));
    for (name, column) in columns {
        let (mut scratch, mut counts) = (Scratch::default(), CellCounts::new(grid.cells()));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                count_column(&grid, range, black_box(&column), 0..COLUMN, None, &mut scratch, &mut counts)
                    .expect("a Float64Array on a numeric grid")
            });
        });
    }
    group.finish();
}

/// One prepared series: everything that a baseline holds.
struct Series {
    grid: Grid,
    counts: Vec<u64>,
    bins: psi::Bins,
    bin_counts: Vec<u64>,
    sorted: Vec<f64>,
    window: ArrayRef,
    raw: Vec<f64>,
}

fn series(rng: &mut fastrand::Rng) -> Series {
    let reference = sorted(values(rng, REFERENCE));
    let numeric = quantile_grid(&reference, 1_024);
    let mut counts = vec![0u64; numeric.cells()];
    let mut ranks = Vec::new();
    numeric.rank_into(&reference, &mut ranks);
    ranks.iter().for_each(|&rank| counts[rank as usize] += 1);
    let bins = psi::Bins::new(psi::Shares::Deciles, &counts);
    let raw = values(rng, WINDOW);
    Series {
        grid: Grid::Numeric(numeric),
        bin_counts: bins.fold(&counts),
        bins,
        counts,
        sorted: reference,
        window: Arc::new(Float64Array::from(raw.clone())),
        raw,
    }
}

/// KS and PSI by rank cells: count, then one pass over the cells.
fn by_cells(series: &Series, scratch: &mut Scratch) -> (f64, f64) {
    let mut counted = CellCounts::new(series.grid.cells());
    count_column(&series.grid, None, &series.window, 0..WINDOW, None, scratch, &mut counted)
        .expect("a Float64Array on a numeric grid");
    let ks = ks::two_sample(&series.counts, &counted.cells, false).expect("both sides hold values");
    let index = psi::psi(&series.bin_counts, &series.bins.fold(&counted.cells)).expect("ten bins");
    (ks.statistic, index)
}

/// The usual way: sort the window, then walk both sorted samples with two pointers. KS only.
fn by_sorting(series: &Series) -> f64 {
    let window = sorted(series.raw.clone());
    let (m, n) = (series.sorted.len() as f64, window.len() as f64);
    let (mut i, mut j, mut largest) = (0, 0, 0.0f64);
    while i < series.sorted.len() && j < window.len() {
        let at = series.sorted[i].min(window[j]);
        while i < series.sorted.len() && series.sorted[i] <= at {
            i += 1;
        }
        while j < window.len() && window[j] <= at {
            j += 1;
        }
        largest = largest.max((i as f64 / m - j as f64 / n).abs());
    }
    largest
}

fn measure(criterion: &mut Criterion) {
    let mut rng = fastrand::Rng::with_seed(3);
    let all: Vec<Series> = (0..SERIES).map(|_| series(&mut rng)).collect();
    let mut scratch = Scratch::default();
    for one in &all {
        let (found, certain) = (by_cells(one, &mut scratch).0, by_sorting(one));
        assert!((0.0..1e-3).contains(&(certain - found)), "{found} is not {certain}");
    }
    let mut group = criterion.benchmark_group("measure");
    group.throughput(Throughput::Elements((SERIES * WINDOW) as u64));
    group.bench_function("ks_psi_20_series/rank_cells", |bencher| {
        bencher.iter(|| all.iter().map(|one| by_cells(one, &mut scratch).0).sum::<f64>());
    });
    group.bench_function("ks_20_series/sort_baseline", |bencher| {
        bencher.iter(|| all.iter().map(by_sorting).sum::<f64>());
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("ks_from_counts", |bencher| {
        let (reference, window) = (&all[0].counts, &all[1].counts);
        bencher.iter(|| ks::two_sample(black_box(reference), black_box(window), false));
    });
    group.finish();
}

criterion_group!(benches, rank, histogram, measure);
criterion_main!(benches);
