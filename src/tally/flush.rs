//! What a flush writes: deltas, then a marker for every merge partition.

use super::joins;
#[cfg(test)]
use super::planted::Bug;
use super::record::{
    Counts, Delta, FORMAT, Marker, OutcomeCount, RoleCount, SourceRange, TallyBody, TallyRecord,
};
use super::{PaneCounts, SeriesTally, SourceKey, SourceStart, Tally, merge_partition, of_number};
use crate::baseline::VersionIndex;
use crate::cells::runs;
use crate::event::EventTime;

/// What a flush is stamped with. Time and identity are arguments: this room has neither.
#[derive(Debug, Clone, Copy)]
pub struct FlushStamp<'a> {
    /// Unique among all flushes ever.
    pub range_id: &'a str,
    pub instance: &'a str,
    pub wall_clock: EventTime,
    pub flush_interval_ms: i64,
    pub lateness_ms: i64,
    /// Merge partitions.
    pub partitions: u32,
}

/// One record of a flush and the merge partition it goes to.
#[derive(Debug, Clone, PartialEq)]
pub struct FlushRecord {
    pub partition: u32,
    pub record: TallyRecord,
}

/// A flush, ready to be written in one transaction with `offsets`.
#[derive(Debug, Clone, PartialEq)]
pub struct Flush {
    /// Deltas first, then what is to be joined, then the markers.
    pub records: Vec<FlushRecord>,
    /// Next offset of each source.
    pub offsets: Vec<(SourceKey, i64)>,
}

impl Tally {
    /// The counts since the last flush. Nothing is forgotten before [`Tally::commit`] or [`Tally::discard`].
    pub fn flush(&self, stamp: &FlushStamp<'_>) -> Flush {
        let mut records = Vec::new();
        let mut roles: Vec<Vec<RoleCount>> = vec![Vec::new(); stamp.partitions as usize];
        let mut deltas_in = vec![0_u64; stamp.partitions as usize];
        for ((version, pane_start), pane) in &self.panes {
            let id = &self.watch.model(*version).id;
            let partition = merge_partition(&id.namespace, &id.name, stamp.partitions);
            let deltas = self.pane_deltas(*version, *pane_start, pane, stamp.range_id);
            deltas_in[partition as usize] += deltas.len() as u64;
            records.extend(deltas.into_iter().map(|delta| record(partition, TallyBody::Delta(delta))));
            roles[partition as usize].push(self.role_count(*version, *pane_start, pane));
        }
        for ((version, pane_start), pane) in &self.joins {
            let (model, watched) = (self.watch.model(*version), self.watch.version(*version));
            let partition = merge_partition(&model.id.namespace, &model.id.name, stamp.partitions);
            let head = joins::head(model, watched, (pane_start.0, self.pane_ms), stamp.range_id);
            let before = records.len();
            let joins = pane.records(watched, &head);
            records.extend(joins.map(|joins| record(partition, TallyBody::Joins(joins))));
            deltas_in[partition as usize] += (records.len() - before) as u64;
        }
        for (partition, (roles, n_deltas_here)) in roles.into_iter().zip(deltas_in).enumerate() {
            #[cfg(test)]
            if Bug::DropMarker.is_planted() && stamp.range_id.ends_with('3') {
                continue;
            }
            let marker = Marker { roles, n_deltas_here, ..self.marker(stamp, false) };
            records.push(record(partition as u32, TallyBody::Marker(marker)));
        }
        let offsets = self.sources().map(|(source, next)| (source.clone(), next)).collect();
        Flush { records, offsets }
    }

    /// Markers that start `sources` in every merge partition.
    pub fn init_markers(stamp: &FlushStamp<'_>, sources: &[SourceStart]) -> Vec<FlushRecord> {
        let start = |start: &SourceStart| SourceRange {
            topic: start.source.topic.clone(),
            topic_uuid: start.topic_uuid.clone(),
            partition: start.source.partition,
            from: start.instead_of.unwrap_or(start.offset),
            to: start.offset,
            ..SourceRange::default()
        };
        let marker = Marker {
            range_id: stamp.range_id.to_owned(),
            instance: stamp.instance.to_owned(),
            wall_clock: stamp.wall_clock.0,
            flush_interval: stamp.flush_interval_ms,
            sources: sources.iter().map(start).collect(),
            init: true,
            ..Marker::default()
        };
        #[cfg(test)]
        if Bug::LoseInit.is_planted() {
            return Vec::new();
        }
        (0..stamp.partitions).map(|partition| record(partition, TallyBody::Marker(marker.clone()))).collect()
    }

    /// The flush is written: forget what it held.
    pub fn commit(&mut self, lateness_ms: i64) {
        if let Some(end) = self.complete_pane_end(lateness_ms) {
            self.flushed_pane_end = self.flushed_pane_end.max(end);
        }
        self.clear_counts();
        self.sources.values_mut().for_each(|progress| progress.committed());
    }

    /// The flush came to nothing: forget the counts; sources are started again at their committed offsets.
    pub fn discard(&mut self) {
        self.clear_counts();
        self.sources.clear();
    }

    fn clear_counts(&mut self) {
        self.panes.clear();
        self.joins.clear();
        self.held_bytes = 0;
    }

    fn pane_deltas(
        &self,
        version: VersionIndex,
        pane_start: EventTime,
        pane: &PaneCounts,
        range_id: &str,
    ) -> Vec<Delta> {
        let id = &self.watch.model(version).id;
        let watched = self.watch.version(version);
        let delta = |(series, tally): (&crate::baseline::WatchedSeries, &Option<SeriesTally>)| {
            let tally = tally.as_ref()?;
            Some(Delta {
                range_id: range_id.to_owned(),
                namespace: id.namespace.clone(),
                model: id.name.clone(),
                version: watched.version.clone(),
                series: series.reference.name.clone(),
                of: of_number(series.reference.of),
                grid_hash: series.grid_hash,
                pane_start: pane_start.0,
                pane_len: self.pane_ms,
                counts: Some(counts_record(tally)),
            })
        };
        watched.series.iter().zip(&pane.series).filter_map(delta).collect()
    }

    fn role_count(&self, version: VersionIndex, pane_start: EventTime, pane: &PaneCounts) -> RoleCount {
        let id = &self.watch.model(version).id;
        RoleCount {
            namespace: id.namespace.clone(),
            model: id.name.clone(),
            version: self.watch.version(version).version.clone(),
            pane_start: pane_start.0,
            stable: pane.stable,
            canary: pane.canary,
            unset: pane.unset,
            service: pane.service.record(),
            labels: pane.labels.record(self.watch.version(version)),
            matured: None,
            scores: pane.scores.record(self.watch.version(version)),
        }
    }

    fn marker(&self, stamp: &FlushStamp<'_>, init: bool) -> Marker {
        let range = |(source, progress): (&SourceKey, &super::SourceProgress)| SourceRange {
            topic: source.topic.clone(),
            topic_uuid: progress.topic_uuid.clone(),
            partition: source.partition,
            from: progress.from,
            to: progress.next,
            watermark: progress.watermark.map(|time| time.0),
            idle: progress.idle,
            outcomes: progress
                .outcomes
                .iter()
                .map(|(outcome, count)| OutcomeCount { outcome: outcome.as_str().to_owned(), count: *count })
                .collect(),
        };
        Marker {
            range_id: stamp.range_id.to_owned(),
            instance: stamp.instance.to_owned(),
            wall_clock: stamp.wall_clock.0,
            flush_interval: stamp.flush_interval_ms,
            sources: self.sources.iter().map(range).collect(),
            init,
            ..Marker::default()
        }
    }
}

fn record(partition: u32, body: TallyBody) -> FlushRecord {
    FlushRecord { partition, record: TallyRecord { format: FORMAT, body: Some(body) } }
}

fn counts_record(tally: &SeriesTally) -> Counts {
    let counts = &tally.counts;
    Counts {
        rows: counts.rows,
        missing: counts.missing - tally.type_errors,
        type_errors: tally.type_errors,
        out_of_range: counts.out_of_range,
        non_finite: counts.non_finite,
        cells: runs::encode(&counts.cells),
        units: runs::encode(&tally.units.cells()),
        sums: tally.sums.encode(),
        summed: tally.sums.values,
    }
}
