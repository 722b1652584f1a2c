use super::*;
use crate::baseline::{Baseline, file, numeric_series};
use crate::event::{EventTime, SeriesOf};
use std::path::Path;
use std::sync::Arc;

const MORE: &str = "mode = \"budget\"\n";

/// A configuration with baselines of so many rows, and its folder.
pub fn configured(rows: usize, model: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    for version in ["v1", "v2"] {
        let values = |step: usize| (0..rows).map(|row| (row * step % rows) as f64).collect::<Vec<_>>();
        let series = [("amount", SeriesOf::Feature, 7), ("score", SeriesOf::Prediction, 11)];
        let series = series.map(|(name, of, step)| Arc::new(numeric_series(name, of, values(step), 0)));
        let baseline = Baseline {
            model: "fraud".to_owned(),
            version: version.to_owned(),
            rows: rows as u64,
            created: EventTime(0),
            held_out: true,
            times: None,
            series: series.to_vec(),
        };
        file::write(&baseline, &folder.path().join(format!("{version}.parquet"))).expect("written");
    }
    let path = folder.path().join("tidegate.toml");
    let text = format!(
        "[kafka]\nbrokers = \"127.0.0.1:1\"\n[topics]\nevents = [\"events\"]\n[[model]]\nname = \"fraud\"\n\
         baselines = {{ v1 = \"v1.parquet\", v2 = \"v2.parquet\" }}\n{model}"
    );
    std::fs::write(&path, text).expect("written");
    (folder, path)
}

fn arguments(config: &Path) -> PlanArgs {
    let text = |value: &str| Some(value.to_owned());
    PlanArgs {
        config: config.to_owned(),
        model: text("fraud"),
        namespace: None,
        stable: None,
        canary: None,
        rate: text("1000/min"),
        weight: text("10,25,50"),
        step: text("10m"),
        phi: "1".to_owned(),
        error_rate: "0.01".to_owned(),
        json: false,
    }
}

#[test]
fn a_plan_says_what_each_step_shows() {
    let (_folder, config) = configured(20_000, MORE);
    let planned = plan(&arguments(&config)).expect("a plan");
    let panes: Vec<u64> = planned.forecast.steps.iter().map(|step| step.panes).collect();
    assert_eq!((panes, &*planned.arms.stable, &*planned.arms.canary), (vec![10, 20, 30], "v1", "v2"));
    let first = planned.forecast.steps[0];
    // δ0 + c·√(1/I + 2/m), c = 2.267411: I = 10·999·.09.
    let foretold = 0.02 + 2.267411 * (1.0f64 / 899.1 + 2.0 / 20_000.0).sqrt();
    let answer = first.answer.expect("seen");
    assert!((answer - foretold).abs() < 1e-6, "{answer} is not {foretold}");
    let text = report::describe(&planned);
    for said in [
        "default/fraud: v2 beside v1 at 1000/min",
        "10m    10 %           1000",
        "Rollback: possible from 1m on",
        "Promotion: half of healthy canaries are called good (PIT-D below 0.05) within",
        "1h4m",
    ] {
        assert!(text.contains(said), "{said:?} is missing from\n{text}");
    }
    let document = serde_json::to_value(&planned).expect("JSON");
    assert_eq!(document["forecast"]["steps"][0]["answer"].as_f64(), Some(answer));
    assert_eq!(document["baseline"][3]["scale"], 64);
}

#[test]
fn series_that_usually_stray_are_told_beside_the_others() {
    let (_folder, quiet) = configured(20_000, MORE);
    let noise = "noise = [{ series = \"amount\", ks = { 1 = 0.05, 4 = 0.12 } }]\n";
    let (_other, noisy) = configured(20_000, &format!("{MORE}{noise}"));
    let [quiet, noisy] = [quiet, noisy].map(|config| plan(&arguments(&config)).expect("a plan"));
    let [quiet_text, noisy_text] = [&quiet, &noisy].map(report::describe);
    assert!(!quiet_text.contains("strays") && noisy_text.starts_with(&quiet_text), "{noisy_text}");
    let own: Vec<_> = noisy.baseline.iter().map(|sight| sight.own.first()).collect();
    let (first, second) = (own[0].expect("its own"), own[1].expect("its own"));
    assert!(own[2].is_none() && own[3].is_none() && quiet.baseline.iter().all(|sight| sight.own.is_empty()));
    let beyond = first.warning.expect("seen") - noisy.baseline[0].feature.expect("seen");
    assert!((beyond - 0.03).abs() < 1e-9 && second.warning == second.drift, "{first:?} {second:?}");
    let row = format!("amount      1m      0.050    {:.3}", first.warning.expect("seen"));
    assert!(noisy_text.contains(&row), "{row:?} is missing from\n{noisy_text}");
}

#[test]
fn dependent_values_and_small_baselines_are_said() {
    let (_folder, config) = configured(2_000, MORE);
    let independent = plan(&arguments(&config)).expect("a plan");
    let dependent = plan(&PlanArgs { phi: "4".to_owned(), ..arguments(&config) }).expect("a plan");
    assert!(dependent.forecast.steps[2].answer > independent.forecast.steps[2].answer);
    let text = report::describe(&independent);
    assert!(
        text.contains("Promotion: never, because prediction baselines of 2000 (canary) and 2000"),
        "{text}"
    );
    assert!(text.contains("is never seen: the baselines hold no more"), "{text}");
}

#[test]
fn what_cannot_be_used_is_a_sentence() {
    let (_folder, config) = configured(2_000, MORE);
    let refused = |change: fn(&mut PlanArgs)| {
        let mut args = arguments(&config);
        change(&mut args);
        assert_eq!(run(&args).expect("an exit code"), EXIT_CONFIG);
        plan(&args).expect_err("refused").join(" ")
    };
    let text = |value: &str| Some(value.to_owned());
    assert!(
        refused(|args| args.rate = Some("50".to_owned()))
            .starts_with("--rate: 50 is not a number of requests")
    );
    assert!(refused(|args| args.rate = Some("-1/s".to_owned())).contains("--rate"));
    assert!(refused(|args| args.weight = Some("10,100".to_owned())).contains("100 is not between 0 and 100"));
    assert!(refused(|args| args.step = Some("30s".to_owned())).contains("shorter than a pane"));
    assert!(refused(|args| args.step = Some("3".to_owned())).contains("3 is not a duration"));
    assert!(refused(|args| args.step = Some("9999d".to_owned())).contains("at most 1000000 panes"));
    assert!(refused(|args| args.phi = "0.5".to_owned()).contains("0.5 is not a number from 1"));
    assert!(refused(|args| args.error_rate = "1".to_owned()).contains("1 is not a share between 0 and 1"));
    assert!(refused(|args| args.model = Some("other".to_owned())).contains("other is not configured"));
    assert!(refused(|args| args.canary = Some("v1".to_owned())).contains("v1 is the stable version"));
    assert!(refused(|args| args.canary = Some("v9".to_owned())).contains("there are v1, v2"));
    let nothing = PlanArgs { model: None, rate: None, weight: None, step: None, ..arguments(&config) };
    assert_eq!(plan(&nothing).expect_err("refused").len(), 4);
    let (_folder, plain) = configured(2_000, "mode = \"thresholds\"\n");
    let why = plan(&PlanArgs { model: text("fraud"), ..arguments(&plain) }).expect_err("refused");
    assert!(why[0].contains("knows no power"), "{why:?}");
}
