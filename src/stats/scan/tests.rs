use super::*;

fn settings(alpha: f64) -> ScanSettings {
    ScanSettings { reference: 500, pane: 25, scales: vec![1, 2, 4, 8, 16], alpha }
}

/// Rows of `columns` uniform values; the last column is shifted by `shift` from row `from` on.
fn detections(alpha: f64, rows: u64, columns: usize, from: u64, shift: f64, seed: u64) -> Vec<Detection> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut scan = Scan::new(settings(alpha), &vec![ColumnKind::Numeric; columns]);
    let row = |row: u64| {
        let mut values: Vec<f64> = (0..columns).map(|_| rng.f64()).collect();
        values[columns - 1] += if row >= from { shift } else { 0.0 };
        scan.push(&values)
    };
    (0..rows).filter_map(row).collect()
}

#[test]
fn a_shift_is_found_in_its_column_and_the_next_row_begins_a_new_reference() {
    let alpha = ScanSettings::per_test(0.01, 4, 5, 4_000, 25);
    assert!((alpha - 0.01 / (4.0 * 5.0 * 160.0)).abs() < 1e-18);
    let found = detections(alpha, 4_000, 4, 2_000, 0.9, 1);
    assert_eq!(found.iter().map(|one| one.row).collect::<Vec<_>>(), [2_024]);
    assert_eq!((found[0].alarms.len(), found[0].alarms[0].column, found[0].alarms[0].scale), (1, 3, 1));
    assert!(found[0].alarms[0].distance > 0.85 && found[0].alarms[0].p_value <= alpha);
    // A smaller shift is found by a larger scale, later.
    let small = detections(alpha, 4_000, 4, 2_000, 0.3, 2);
    assert!((2_025..2_300).contains(&small[0].row) && small[0].alarms[0].scale > 1, "{small:?}");
}

/// The family-wise level over whole streams: 400 streams at .2 with few tests each.
#[test]
fn streams_without_drift_alarm_less_often_than_the_family_level() {
    let alpha = ScanSettings::per_test(0.2, 3, 5, 1_500, 25);
    let alarmed = (0..400).filter(|&seed| !detections(alpha, 1_500, 3, 0, 0.0, seed).is_empty()).count();
    // Windows overlap and the reference is shared, so the level is not used up, but it is not nothing either.
    assert!((4..=80).contains(&alarmed), "{alarmed} of 400 at .2");
}

#[test]
fn columns_without_values_are_never_tested() {
    let mut scan = Scan::new(settings(0.5), &[ColumnKind::Numeric, ColumnKind::Category]);
    assert!((0..3_000).all(|_| scan.push(&[f64::NAN, f64::NAN]).is_none()));
}
