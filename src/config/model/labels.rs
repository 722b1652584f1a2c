//! `[model.labels]`: how labels that come in events of their own are joined.

use crate::baseline::LabelJoin;
use crate::config::reader::Reader;
use std::time::Duration;

const SHORTEST: Duration = Duration::from_secs(1);
const DEFAULT_PENDING: i64 = 1_000_000;

/// `None`: no labels are joined.
pub(super) fn read_labels(model: &Reader, longest_horizon: Duration) -> Option<LabelJoin> {
    let found = model.find("labels")?;
    let reader = model.table_of(&found);
    let join = LabelJoin {
        horizon_ms: i64::try_from(read_horizon(&reader, longest_horizon).as_millis()).unwrap_or(i64::MAX),
        max_pending: reader.integer("max_pending", DEFAULT_PENDING, 1_000, 100_000_000) as usize,
        sample: reader.positive("sample", 1.0, 1.0),
    };
    reader.finish();
    Some(join)
}

fn read_horizon(reader: &Reader, longest: Duration) -> Duration {
    let Some(found) = reader.find("horizon") else {
        reader.missing("horizon", "how long after its answer a label may come, e.g. \"1h\"");
        return SHORTEST;
    };
    let horizon = reader.duration("horizon", SHORTEST).unwrap_or(SHORTEST);
    if horizon > longest && horizon > SHORTEST {
        let expected = format!(
            "expected at most {} s: topics.tallies_retention less windows.lateness and four panes",
            longest.as_secs()
        );
        reader.refuse(&found, "is longer than tallies are kept", expected);
    }
    horizon
}
