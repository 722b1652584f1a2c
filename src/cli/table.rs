//! Plain tables and small pictures for the terminal.

use crate::baseline::BaselineSeries;
use crate::cells::Grid;

/// Characters of a sparkline.
const BARS: usize = 12;
const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Mass that a picture of a numeric series cuts off at each end, so that one outlier does not flatten the rest.
const TAIL: f64 = 0.005;

/// A table with a header; columns are as wide as their widest cell, the ones in `right` aligned to the right.
pub fn render(header: &[&str], rows: &[Vec<String>], right: &[usize]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if right.contains(&column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(&mut header.iter().copied());
    rows.iter().for_each(|row| text += &line(&mut row.iter().map(String::as_str)));
    text
}

/// A number in at most about eight characters.
pub fn short_number(value: f64) -> String {
    let size = value.abs();
    if value.is_infinite() || value == value.trunc() && size < 1e9 {
        return value.to_string();
    }
    if !(1e-3..1e7).contains(&size) {
        return format!("{value:.3e}");
    }
    let decimals = (4 - size.log10().floor() as i32).clamp(0, 7) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// The share of `part` in `whole` in percent.
pub fn percent(part: u64, whole: u64) -> String {
    match (part, whole) {
        (0, _) | (_, 0) => "0 %".to_owned(),
        _ => match 100.0 * part as f64 / whole as f64 {
            small if small < 0.1 => "<0.1 %".to_owned(),
            share => format!("{share:.1} %"),
        },
    }
}

/// The distribution of a series: a numeric one over bins of equal width (of the bulk; the tails are in the first
/// and last bar), a categorical one by its most frequent names, a boolean one by false and true.
pub fn sparkline(series: &BaselineSeries) -> String {
    match series.grid.as_ref() {
        Grid::Numeric(grid) => bars(&numeric_bins(grid.cuts(), &series.counts)),
        Grid::Categorical(categories) => {
            let shown = categories.named().len().min(BARS);
            bars(&series.counts[..shown].iter().map(|count| *count as f64).collect::<Vec<_>>())
        }
        Grid::Boolean => bars(&series.counts.iter().map(|count| *count as f64).collect::<Vec<_>>()),
    }
}

fn bars(heights: &[f64]) -> String {
    let tallest = heights.iter().copied().fold(0.0, f64::max);
    let top = (LEVELS.len() - 1) as f64;
    let level = |height: &f64| if tallest > 0.0 { (height / tallest * top).ceil() as usize } else { 0 };
    heights.iter().map(|height| LEVELS[level(height).min(LEVELS.len() - 1)]).collect()
}

/// Mass per bin of equal width. The mass at a cut goes to its bin, that of a gap evenly to those it spans.
fn numeric_bins(cuts: &[f64], counts: &[u64]) -> Vec<f64> {
    let finite: Vec<(f64, u64, u64)> = cuts
        .iter()
        .zip(counts[1..].chunks_exact(2))
        .map(|(cut, pair)| (*cut, pair[0], pair[1]))
        .filter(|(cut, ..)| cut.is_finite())
        .collect();
    let (low, high) = bulk(&finite);
    if low >= high {
        return finite.iter().filter(|(cut, ..)| *cut == low).map(|(_, at, _)| *at as f64).collect();
    }
    let width = high - low;
    let place = |value: f64| ((value - low) / width * BARS as f64).clamp(0.0, BARS as f64);
    let mut bins = vec![0.0; BARS];
    for (index, (cut, at, above)) in finite.iter().enumerate() {
        bins[(place(*cut) as usize).min(BARS - 1)] += *at as f64;
        let end = finite.get(index + 1).map_or(*cut, |next| next.0);
        spread(&mut bins, place(*cut), place(end), *above as f64);
    }
    bins
}

/// The cuts between which all but the tails lie.
fn bulk(cuts: &[(f64, u64, u64)]) -> (f64, f64) {
    let total: u64 = cuts.iter().map(|(_, at, above)| at + above).sum();
    let quantile = |level: f64| {
        let mut sum = 0;
        let reached = |(_, at, above): &&(f64, u64, u64)| {
            sum += at + above;
            sum as f64 >= level * total as f64 && at + above > 0
        };
        cuts.iter().find(reached).map_or(0.0, |(cut, ..)| *cut)
    };
    (quantile(TAIL), quantile(1.0 - TAIL))
}

fn spread(bins: &mut [f64], from: f64, to: f64, mass: f64) {
    let last = bins.len() - 1;
    if to <= from {
        bins[(from as usize).min(last)] += mass;
        return;
    }
    for (index, bin) in bins.iter_mut().enumerate() {
        let overlap = to.min(index as f64 + 1.0) - from.max(index as f64);
        *bin += mass * overlap.max(0.0) / (to - from);
    }
}
