use super::record::BetsRecord;
use super::{Evidence, EvidenceHead, EvidenceRecord, Sampled, Terms, Weight};
use crate::event::{EventTime, SeriesOf};
use crate::judge::dispersion::Dispersion;
use crate::judge::fixture::{self, HEALTHY, Traffic, watched, window};
use crate::judge::plan::MeasurePlan;
use crate::judge::window::ModelWindow;
use crate::stats::sequential::srm::Sampling;

const TERMS: Terms = Terms {
    alpha: 0.01,
    tolerance: 0.02,
    weight: Weight::Unknown,
    sampled: Sampled { fractions: Sampling { stable: 1.0, canary: 1.0 }, read_at: EventTime(0) },
};
const STABLE: Traffic = Traffic { events: 450, ..HEALTHY };
const CANARY: Traffic = Traffic { events: 50, ..HEALTHY };

/// φ is known, and near 1.
fn quiet() -> Dispersion {
    static QUIET: std::sync::OnceLock<Dispersion> = std::sync::OnceLock::new();
    let made = || {
        let (plan, mut dispersion) = (MeasurePlan::new(&watched(true)), Dispersion::default());
        for number in 0..10 {
            let mut pane = window(plan.watched(), -number, STABLE, CANARY, 12);
            pane.arms.truncate(1);
            dispersion.add(&plan, &pane, 1_440);
        }
        dispersion
    };
    QUIET.get_or_init(made).clone()
}

struct Run {
    plan: MeasurePlan,
    evidence: Evidence,
    number: i64,
}

impl Run {
    fn new() -> Run {
        Run { plan: MeasurePlan::new(&watched(true)), evidence: Evidence::default(), number: 0 }
    }

    fn pane(&mut self, stable: Traffic, canary: Traffic) -> ModelWindow {
        self.number += 1;
        window(self.plan.watched(), self.number, stable, canary, 11)
    }

    fn take(&mut self, panes: usize, stable: Traffic, canary: Traffic) {
        for _ in 0..panes {
            let pane = self.pane(stable, canary);
            assert!(self.evidence.add(&self.plan, &pane, &TERMS, &quiet()));
        }
    }

    fn compare(&self) -> super::Comparison {
        self.evidence.compare(&self.plan, &TERMS, &quiet(), &|_| false).expect("panes were seen")
    }
}

#[test]
fn a_healthy_canary_is_bounded_ever_closer() {
    let mut run = Run::new();
    run.take(20, STABLE, CANARY);
    let early = run.compare();
    run.take(100, STABLE, CANARY);
    let late = run.compare();
    assert_eq!((late.panes, late.canary_events, late.stable_events), (120, 6_000, 54_000));
    assert_eq!((late.inputs.len(), late.answers.len()), (4, 2));
    for (one, before) in
        late.inputs.iter().chain(&late.answers).zip(early.inputs.iter().chain(&early.answers))
    {
        assert!(!one.differs && !one.missing_differs && one.p_value > 0.01, "{one:?}");
        assert!(
            one.upper < before.upper && one.lower <= one.distance && one.distance <= one.upper,
            "{one:?}"
        );
    }
    assert!(late.joint.expect("inputs").upper < early.joint.expect("inputs").upper);
    assert!(late.stable_moved.as_ref().is_some_and(|(_, upper)| *upper < 0.05), "{:?}", late.stable_moved);
}

#[test]
fn common_drift_and_a_changing_weight_cancel() {
    let mut run = Run::new();
    for step in 0..60 {
        let drift = 0.3 * f64::from(step) / 60.0;
        let events = 5 + 4 * step as u64;
        let stable = Traffic { amount: drift, events: 500 - events, ..HEALTHY };
        run.take(1, stable, Traffic { events, ..stable });
    }
    let found = run.compare();
    let amount = found.inputs.iter().find(|one| one.name == "amount").expect("compared");
    assert!(!amount.differs && amount.distance < 0.05, "{amount:?}");
    assert!(found.stable_moved.as_ref().is_some_and(|(name, upper)| name == "amount" && *upper > 0.1));
}

#[test]
fn what_differs_is_found_with_its_size() {
    let mut run = Run::new();
    run.take(40, STABLE, Traffic { score: 0.3, amount: 0.15, age_missing: 0.2, ..CANARY });
    let found = run.compare();
    let score = found.answers.iter().find(|one| one.name == "score").expect("compared");
    assert!(score.differs && score.lower < 0.3 && score.upper > 0.29, "{score:?}");
    let input = |name: &str| found.inputs.iter().find(|one| one.name == name).expect("compared");
    assert!(input("amount").differs && !input("country").differs);
    assert!(input("age").missing_differs && !input("amount").missing_differs, "{:?}", input("age"));
    assert!(found.joint.expect("inputs").statistic > 0.1);
    let without =
        run.evidence.compare(&run.plan, &TERMS, &quiet(), &|series| series == "amount").expect("seen");
    assert!(without.inputs.iter().all(|one| one.name != "amount" && !one.differs));
    assert!(without.joint.expect("inputs").statistic < 0.1);
}

#[test]
fn evidence_survives_storing_and_goes_on_to_the_last_bit() {
    let mut run = Run::new();
    run.take(15, STABLE, Traffic { score: 0.1, ..CANARY });
    let head = serde_json::to_string(&run.evidence.head).expect("plain data");
    let head: EvidenceHead = serde_json::from_str(&head).expect("what was written");
    let mut restored = Evidence::from_head(head);
    let id = run.plan.watched().id.clone();
    let records: Vec<_> = run.evidence.records(&id).collect();
    assert_eq!(records.len(), 6);
    assert!(records.iter().all(|record| super::EvidenceRecord::is_key(record.key().as_bytes())));
    records.iter().for_each(|record| restored.restore(record));
    assert_eq!(restored, run.evidence);
    for _ in 0..5 {
        let pane = run.pane(STABLE, CANARY);
        run.evidence.add(&run.plan, &pane, &TERMS, &quiet());
        restored.add(&run.plan, &pane, &TERMS, &quiet());
    }
    assert_eq!(restored, run.evidence);
}

#[test]
fn stored_evidence_that_cannot_be_right_is_begun_anew() {
    let mut run = Run::new();
    run.take(3, STABLE, CANARY);
    let id = run.plan.watched().id.clone();
    let record = run.evidence.records(&id).next().expect("a series");
    let mut others = Evidence::from_head(run.evidence.head.clone());
    let mut wrong = [record.clone(), record.clone(), record.clone(), record.clone(), record.clone()];
    wrong[0].canary = "v9".to_owned();
    wrong[1].canary_shares[0] = f64::NAN;
    wrong[2].missing.pop();
    wrong[3].of = 7;
    wrong[4].ln_wealth = f64::INFINITY;
    wrong.iter().for_each(|record| others.restore(record));
    assert_eq!(others.records(&id).count(), 0);
    others.restore(&record);
    assert_eq!(others.records(&id).count(), 1);
}

#[test]
fn only_whole_panes_seen_for_the_first_time_are_evidence() {
    let mut run = Run::new();
    run.take(2, STABLE, CANARY);
    let before = run.evidence.clone();
    let pane = run.pane(STABLE, CANARY);
    let mut lone = pane.clone();
    lone.arms.truncate(1);
    let mut incomplete = pane.clone();
    incomplete.arms[0].complete = false;
    for other in [
        ModelWindow { scale: 4, ..pane.clone() },
        ModelWindow { revised: true, ..pane.clone() },
        incomplete,
        lone,
    ] {
        assert!(!run.evidence.add(&run.plan, &other, &TERMS, &quiet()));
    }
    assert_eq!(run.evidence, before);
    let mut other = pane.clone();
    let mut random = fastrand::Rng::with_seed(3);
    other.arms[1] = fixture::arm(run.plan.watched(), 2, CANARY, &mut random);
    let fixed = crate::baseline::Rollout::Fixed { stable: "v1".to_owned(), canary: Some("v3".to_owned()) };
    let plan = MeasurePlan::new(&fixture::with_rollout(fixed, true));
    assert!(run.evidence.add(&plan, &other, &TERMS, &quiet()));
    assert_eq!((run.evidence.head.canary.as_str(), run.evidence.head.panes), ("v3", 1));
    assert!(run.evidence.series.contains_key(&(SeriesOf::Prediction, "score".to_owned())));
}

#[test]
fn a_wrong_split_is_noticed_where_the_weight_is_known() {
    let terms = Terms { weight: Weight::Told(0.1), ..TERMS };
    for (events, wrong) in [(50, false), (80, true)] {
        let mut run = Run::new();
        for _ in 0..60 {
            let pane = run.pane(STABLE, Traffic { events, ..CANARY });
            run.evidence.add(&run.plan, &pane, &terms, &quiet());
        }
        let split = run.evidence.compare(&run.plan, &terms, &quiet(), &|_| false).expect("seen").split;
        let split = split.expect("the weight is known");
        assert_eq!(split.p_value < 1e-3, wrong, "{events}: {split:?}");
    }
}

/// Evidence as it was stored before labels were, and with labels that cannot be right.
#[test]
fn records_without_labels_are_read_as_before_and_impossible_ones_are_not() {
    let mut run = Run::new();
    run.take(3, STABLE, CANARY);
    let id = run.plan.watched().id.clone();
    let is_class = |one: &EvidenceRecord| one.series == "class";
    let record = run.evidence.records(&id).find(is_class).expect("an output");
    assert_eq!((&record.accuracy, &record.coverage), (&None, &None));
    let bets = BetsRecord { counts: vec![1, 9, 1, 99], ln_wealth: 0.5, largest_ln_wealth: 0.7 };
    let with = |bets: &BetsRecord| EvidenceRecord { coverage: Some(bets.clone()), ..record.clone() };
    let restored = |record: &EvidenceRecord| {
        let mut evidence = Evidence::from_head(run.evidence.head.clone());
        evidence.restore(record);
        evidence.records(&id).next()
    };
    for good in [record.clone(), with(&bets)] {
        assert_eq!(restored(&good), Some(good));
    }
    for wrong in [
        BetsRecord { counts: vec![1, 9, 1], ..bets.clone() },
        BetsRecord { largest_ln_wealth: 0.4, ..bets.clone() },
        BetsRecord { ln_wealth: f64::NAN, ..bets.clone() },
    ] {
        assert_eq!(restored(&with(&wrong)), None, "{wrong:?}");
    }
}

#[test]
fn stored_counts_at_their_end_stay_there() {
    let mut run = Run::new();
    run.take(1, STABLE, CANARY);
    let mut head = serde_json::to_value(&run.evidence.head).expect("JSON");
    for name in ["panes", "canary_events", "stable_events"] {
        head[name] = u64::MAX.into();
    }
    head["spread"]["comparisons"] = u64::MAX.into();
    run.evidence.head = serde_json::from_value(head.clone()).expect("a head");
    run.take(2, STABLE, CANARY);
    let found = serde_json::to_value(&run.evidence.head).expect("JSON");
    for name in ["panes", "canary_events", "stable_events"] {
        assert_eq!(found[name], head[name], "{name}");
    }
    assert_eq!(found["spread"]["comparisons"], head["spread"]["comparisons"]);
    assert_eq!(run.compare().panes, u64::MAX);
}
