//! The baseline file: one Parquet file that pandas, Polars and DuckDB open too.
//!
//! | column | type | meaning |
//! |---|---|---|
//! | `series` | string | name of the series |
//! | `of` | string | `feature` or `prediction` |
//! | `kind` | string | `numeric`, `categorical` or `boolean` |
//! | `position` | u32 | 0, 1, 2, … within the series |
//! | `cut` | f64? | numeric: the cut point; null in the first row, which stands for "below every cut" |
//! | `category` | string? | categorical and boolean: the name; null for the sum of `other` |
//! | `other` | bool | a category that shares the cell `other` |
//! | `at` | u64? | rows at the cut or of the category; null for a name in `other`, whose sum has a row |
//! | `above` | u64? | numeric: rows between this cut and the next |
//!
//! So `sum(at) + sum(above)` of a series is its number of values. Everything else is a JSON object under the
//! key `tidegate.baseline` of the file's metadata ([`Header`]).

mod read;
mod write;

pub use read::read;
pub use write::write;

use super::{BaselineSeries, SeriesType, Tolerance};
use crate::cells::Sums;
use crate::event::{SeriesKind, SeriesOf};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The key of the header in the file's key-value metadata.
pub const METADATA_KEY: &str = "tidegate.baseline";
/// The version of the layout above.
pub const FORMAT: u32 = 1;

/// The JSON object in the metadata.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
    model: String,
    version: String,
    rows: u64,
    /// RFC 3339.
    created: String,
    held_out: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    times: Option<TimesHeader>,
    series: Vec<SeriesHeader>,
}

/// One series in the header, in the order of its rows.
#[derive(Debug, Serialize, Deserialize)]
struct SeriesHeader {
    name: String,
    of: SeriesOf,
    kind: SeriesKind,
    missing: u64,
    distinct: u64,
    /// Smallest and largest value as the shortest decimals that read back exactly; as text, since they may be
    /// infinite, which JSON numbers cannot.
    range: Option<[String; 2]>,
    /// 16 hexadecimal digits.
    grid_hash: String,
    /// Absent from files of older programs, for which the counts decide.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    series_type: Option<SeriesType>,
    /// The training values were 32-bit floats.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    single: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tolerances: Vec<Tolerance>,
    /// Absent from files of older programs, and where every value is a cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sums: Option<SumsHeader>,
}

/// The sums of a series' values by span of its grid ([`Sums`]).
#[derive(Debug, Serialize, Deserialize)]
struct SumsHeader {
    /// Whole numbers of units; as text, since they may have 128 bits.
    units: Vec<String>,
    /// The values in them.
    values: u64,
}

impl SumsHeader {
    fn new(sums: &Sums) -> SumsHeader {
        let units = sums.spans.iter().map(|sum| sum.units().to_string()).collect();
        SumsHeader { units, values: sums.values }
    }

    /// `None` when they can be no sums of so many values.
    fn read(&self) -> Option<Sums> {
        let units: Vec<i128> = self.units.iter().map(|units| units.parse().ok()).collect::<Option<_>>()?;
        let bytes: Vec<u8> = units.into_iter().flat_map(i128::to_le_bytes).collect();
        Sums::decode(&bytes, self.values).ok()
    }
}

/// When the rows are from.
#[derive(Debug, Serialize, Deserialize)]
struct TimesHeader {
    column: String,
    /// RFC 3339, as `to`.
    from: String,
    to: String,
    pane_ms: i64,
}

fn hash_text(series: &BaselineSeries) -> String {
    format!("{:016x}", series.grid.hash())
}

/// What holds for the series of `rows` rows, on the way out and on the way in: those of one section (features,
/// predictions) have as many rows as each other, and the larger section has them all. Recorded requests and
/// answers may be events of their own, and then there may be more of one.
fn check(series: &[Arc<BaselineSeries>], rows: u64) -> Result<(), String> {
    let mut sections: [Option<u64>; 2] = [None; 2];
    for one in series {
        check_one(one)?;
        let counted = one.counts.iter().try_fold(one.missing, |sum, count| sum.checked_add(*count));
        let section = &mut sections[usize::from(one.of == SeriesOf::Prediction)];
        if counted.is_none() || counted != Some(*section.get_or_insert(counted.unwrap_or(rows))) {
            return Err(format!("the counts of series {} do not add up to the rows of the others", one.name));
        }
    }
    match sections.into_iter().flatten().max() {
        Some(most) if most != rows => {
            Err(format!("the counts of its series do not add up to its {rows} rows"))
        }
        _ => Ok(()),
    }
}

fn check_one(series: &BaselineSeries) -> Result<(), String> {
    let name = &series.name;
    if series.counts.len() != series.grid.cells() {
        return Err(format!(
            "series {name} has {} counts for {} cells",
            series.counts.len(),
            series.grid.cells()
        ));
    }
    let sound = |one: &Tolerance| {
        let index = one.psi.is_none_or(|psi| psi.is_finite() && psi >= 0.0);
        one.scale > 0 && (0.0..=1.0).contains(&one.delta) && index
    };
    if !series.traits.tolerances.iter().all(sound) {
        return Err(format!("series {name} has tolerances that are no distances"));
    }
    if series.traits.sums.is_some_and(|sums| sums.values > series.n()) {
        return Err(format!("series {name} sums more values than it has"));
    }
    if series.distinct > series.n() {
        return Err(format!("series {name} has more distinct values than values"));
    }
    if series.kind == SeriesKind::Categorical && series.counts.last() != Some(&0) {
        return Err(format!("series {name} counts categories that it does not know"));
    }
    // Not `min > max`: a NaN is refused too.
    if series.range.is_some_and(|(min, max)| min.partial_cmp(&max).is_none_or(std::cmp::Ordering::is_gt)) {
        return Err(format!("the range of series {name} is upside down"));
    }
    Ok(())
}
