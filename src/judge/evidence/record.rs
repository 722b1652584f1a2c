//! How evidence is stored: one record of `tidegate.state` per series, so that none outgrows what Kafka takes.

use super::EvidenceHead;
use super::labelled::LabelEvidence;
use super::series::SeriesEvidence;
use crate::cells::{UNIT_CELLS, runs};
use crate::event::{ModelId, SeriesOf};
use crate::stats::sequential::betting::{Betting, Wealth};
use crate::stats::sequential::boundary::Looks;
use crate::stats::sequential::stratified::{Strata, Stratified};
use crate::tally::{of_from_number, of_number};
use prost::Message;

const KEY: &str = "evidence";

/// The evidence of one series of one rollout.
#[derive(Clone, PartialEq, Message)]
pub struct EvidenceRecord {
    /// The versions compared.
    #[prost(string, tag = "1")]
    pub stable: String,
    #[prost(string, tag = "2")]
    pub canary: String,
    /// 0: feature, 1: prediction.
    #[prost(uint32, tag = "3")]
    pub of: u32,
    #[prost(string, tag = "4")]
    pub series: String,
    /// A hash of the cells that the shares stand on.
    #[prost(fixed64, tag = "5")]
    pub layout: u64,
    /// Sums over panes of n_e times the share per cell, and of n_e.
    #[prost(double, repeated, tag = "6")]
    pub canary_shares: Vec<f64>,
    #[prost(double, repeated, tag = "7")]
    pub stable_shares: Vec<f64>,
    #[prost(double, tag = "8")]
    pub information: f64,
    #[prost(uint64, tag = "9")]
    pub canary_events: u64,
    #[prost(uint64, tag = "10")]
    pub stable_events: u64,
    /// The looks taken.
    #[prost(uint32, tag = "11")]
    pub epoch: u32,
    #[prost(double, tag = "12")]
    pub horizon: f64,
    #[prost(double, tag = "13")]
    pub first_look: f64,
    #[prost(double, tag = "14")]
    pub last_look: f64,
    #[prost(double, tag = "15")]
    pub smallest_p: f64,
    /// Rows without and with a usable value: of the canary, of stable.
    #[prost(uint64, repeated, tag = "16")]
    pub missing: Vec<u64>,
    #[prost(double, tag = "17")]
    pub ln_wealth: f64,
    #[prost(double, tag = "18")]
    pub largest_ln_wealth: f64,
    #[prost(string, tag = "19")]
    pub namespace: String,
    #[prost(string, tag = "20")]
    pub model: String,
    /// Stable's values by unit bucket and octile, run-length coded.
    #[prost(uint64, repeated, tag = "21")]
    pub units: Vec<u64>,
    /// Labelled answers that are wrong, and right. Absent: none were seen.
    #[prost(message, optional, tag = "22")]
    pub accuracy: Option<BetsRecord>,
    /// Answers without a usable label, and with one.
    #[prost(message, optional, tag = "23")]
    pub coverage: Option<BetsRecord>,
}

/// Bets on a 2×2 table.
#[derive(Clone, PartialEq, Message)]
pub struct BetsRecord {
    /// Of the canary, then of stable.
    #[prost(uint64, repeated, tag = "1")]
    pub counts: Vec<u64>,
    #[prost(double, tag = "2")]
    pub ln_wealth: f64,
    #[prost(double, tag = "3")]
    pub largest_ln_wealth: f64,
}

impl BetsRecord {
    fn new(bets: &Betting) -> BetsRecord {
        let wealth = bets.wealth();
        BetsRecord {
            counts: wealth.canary.iter().chain(&wealth.stable).copied().collect(),
            ln_wealth: wealth.ln_wealth,
            largest_ln_wealth: wealth.largest_ln_wealth,
        }
    }

    fn read(&self) -> Option<Betting> {
        let (canary, stable) = self.counts.split_at_checked(2).filter(|(_, stable)| stable.len() == 2)?;
        Betting::from_wealth(Wealth {
            canary: canary.to_vec(),
            stable: stable.to_vec(),
            ln_wealth: self.ln_wealth,
            largest_ln_wealth: self.largest_ln_wealth,
        })
    }
}

impl EvidenceRecord {
    pub(super) fn new(
        id: &ModelId,
        (of, series): (SeriesOf, &str),
        head: &EvidenceHead,
        held: &SeriesEvidence,
    ) -> Self {
        let (strata, wealth) = (held.strata.strata(), held.missing.wealth());
        let looks = held.looks;
        EvidenceRecord {
            stable: head.stable.clone(),
            canary: head.canary.clone(),
            of: of_number(of),
            series: series.to_owned(),
            layout: held.layout,
            canary_shares: strata.canary.clone(),
            stable_shares: strata.stable.clone(),
            information: strata.information,
            canary_events: strata.canary_events,
            stable_events: strata.stable_events,
            epoch: looks.epoch,
            horizon: looks.horizon,
            first_look: looks.first,
            last_look: looks.last,
            smallest_p: looks.smallest_p,
            missing: wealth.canary.iter().chain(&wealth.stable).copied().collect(),
            ln_wealth: wealth.ln_wealth,
            largest_ln_wealth: wealth.largest_ln_wealth,
            namespace: id.namespace.clone(),
            model: id.name.clone(),
            units: runs::encode(&held.units[..]),
            accuracy: placed(&held.labels.accuracy),
            coverage: placed(&held.labels.coverage),
        }
    }

    /// The key of this record in `tidegate.state`.
    pub fn key(&self) -> String {
        format!("{KEY}|{}|{}|{}|{}", self.namespace, self.model, self.of, self.series)
    }

    /// Whether a key of `tidegate.state` is that of such a record.
    pub fn is_key(key: &[u8]) -> bool {
        key.strip_prefix(KEY.as_bytes()).is_some_and(|rest| rest.starts_with(b"|"))
    }

    /// `None` for another pair of versions, and for numbers that cannot be any.
    pub(super) fn read(&self, head: &EvidenceHead) -> Option<((SeriesOf, String), SeriesEvidence)> {
        if self.stable != head.stable || self.canary != head.canary {
            return None;
        }
        let strata = Strata {
            canary: self.canary_shares.clone(),
            stable: self.stable_shares.clone(),
            information: self.information,
            canary_events: self.canary_events,
            stable_events: self.stable_events,
        };
        let (canary, stable) = self.missing.split_at_checked(2).filter(|(_, stable)| stable.len() == 2)?;
        let wealth = Wealth {
            canary: canary.to_vec(),
            stable: stable.to_vec(),
            ln_wealth: self.ln_wealth,
            largest_ln_wealth: self.largest_ln_wealth,
        };
        let looks = Looks {
            epoch: self.epoch.max(1),
            horizon: self.horizon,
            first: self.first_look,
            last: self.last_look,
            smallest_p: self.smallest_p,
        };
        let units: Box<[u64; UNIT_CELLS]> =
            runs::decode(&self.units, UNIT_CELLS).ok()?.into_boxed_slice().try_into().ok()?;
        let held = SeriesEvidence {
            layout: self.layout,
            strata: Stratified::from_strata(strata)?,
            looks,
            missing: Betting::from_wealth(wealth)?,
            labels: LabelEvidence {
                accuracy: taken_up(self.accuracy.as_ref())?,
                coverage: taken_up(self.coverage.as_ref())?,
            },
            units,
        };
        Some(((of_from_number(self.of)?, self.series.clone()), held))
    }
}

/// Bets that something was counted for.
fn placed(bets: &Betting) -> Option<BetsRecord> {
    (*bets != Betting::of_rate()).then(|| BetsRecord::new(bets))
}

/// `None`: they cannot be right.
fn taken_up(record: Option<&BetsRecord>) -> Option<Betting> {
    record.map_or_else(|| Some(Betting::of_rate()), BetsRecord::read)
}
