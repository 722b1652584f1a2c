//! The demo's fraud model: what it is asked, and how its two versions answer. Version 2 is version 1,
//! recalibrated: other scores for the same requests, in the same order.

use fastrand::Rng;
use serde::Serialize;
use std::f64::consts::TAU;

/// Name of the model in events and configuration.
pub const MODEL: &str = "fraud";
/// The stable version.
pub const STABLE: &str = "v1";
/// The canary version.
pub const CANARY: &str = "v2";

/// Scores from which the class is `fraud`.
const FRAUD_FROM: f64 = 0.5;
/// Standard deviation of what the versions cannot know, in logits.
const NOISE: f64 = 0.35;

const COUNTRIES: [(&str, u32); 8] =
    [("DE", 30), ("FR", 20), ("NL", 15), ("ES", 12), ("IT", 10), ("PL", 7), ("TH", 4), ("BR", 2)];
const MERCHANTS: [(&str, u32); 6] =
    [("grocery", 34), ("fashion", 22), ("electronics", 16), ("travel", 12), ("gaming", 10), ("crypto", 6)];
const CHANNELS: [(&str, u32); 3] = [("app", 55), ("web", 35), ("phone", 10)];

/// What the model is asked about one payment: 8 numeric, 3 categorical features and a boolean one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Features {
    /// Euros.
    pub amount: f64,
    pub account_age_days: f64,
    pub distance_km: f64,
    /// 0 to 23.
    pub hour: u8,
    pub payments_24h: u32,
    /// 0 to 1.
    pub device_trust: f64,
    pub minutes_since_last: f64,
    /// 0 to 1.
    pub merchant_risk: f64,
    pub country: &'static str,
    pub merchant: &'static str,
    pub channel: &'static str,
    pub new_device: bool,
}

/// What a version answers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Predictions {
    /// Probability of fraud, 0 to 1.
    pub score: f64,
    /// `fraud` or `legit`.
    pub class: &'static str,
}

impl Features {
    /// One payment of an ordinary day.
    pub fn draw(rng: &mut Rng) -> Features {
        Features {
            amount: (3.6 + 0.9 * normal(rng)).exp(),
            account_age_days: 700.0 * exponential(rng),
            distance_km: (2.0 + 1.2 * normal(rng)).exp(),
            hour: (14.0 + 5.0 * normal(rng)).rem_euclid(24.0) as u8,
            payments_24h: (2.5 * exponential(rng)) as u32,
            device_trust: rng.f64().max(rng.f64()),
            minutes_since_last: (5.0 + 1.5 * normal(rng)).exp(),
            merchant_risk: (rng.f64() + rng.f64()) / 2.0,
            country: weighted(rng, &COUNTRIES),
            merchant: weighted(rng, &MERCHANTS),
            channel: weighted(rng, &CHANNELS),
            new_device: rng.f64() < 0.12,
        }
    }

    /// What version 1 makes of a payment, in logits, without noise.
    fn logit(&self) -> f64 {
        let abroad = if matches!(self.country, "TH" | "BR") { 0.8 } else { 0.0 };
        let crypto = if self.merchant == "crypto" { 0.9 } else { 0.0 };
        let phone = if self.channel == "phone" { 0.3 } else { 0.0 };
        let device = if self.new_device { 1.0 } else { 0.0 };
        -3.2 + 0.55 * (self.amount.max(0.01).ln() - 3.6) - 0.0004 * self.account_age_days
            + 0.40 * (self.distance_km.max(0.01).ln() - 2.0)
            + 0.10 * f64::from(self.payments_24h)
            - 1.2 * (self.device_trust - 0.66)
            + 1.5 * (self.merchant_risk - 0.5)
            + abroad
            + crypto
            + phone
            + device
    }
}

/// The answer of a healthy version (`canary`: version 2).
pub fn answer(rng: &mut Rng, features: &Features, canary: bool) -> Predictions {
    predictions(healthy_logit(rng, features, canary))
}

/// The answer of version 2 after a release that broke it: it overrates everything, and one request in four
/// gets the same score.
pub fn broken_answer(rng: &mut Rng, features: &Features) -> Predictions {
    let logit = healthy_logit(rng, features, true) + 2.5;
    let stuck = rng.f64() < 0.25;
    predictions(if stuck { 3.0 } else { logit })
}

fn healthy_logit(rng: &mut Rng, features: &Features, canary: bool) -> f64 {
    let logit = features.logit() + NOISE * normal(rng);
    if canary { 0.85 * logit + 0.4 } else { logit }
}

fn predictions(logit: f64) -> Predictions {
    let score = 1.0 / (1.0 + (-logit).exp());
    Predictions { score, class: if score >= FRAUD_FROM { "fraud" } else { "legit" } }
}

/// A standard normal number (Box–Muller).
fn normal(rng: &mut Rng) -> f64 {
    (-2.0 * (1.0 - rng.f64()).ln()).sqrt() * (TAU * rng.f64()).cos()
}

/// An exponential number of mean 1.
fn exponential(rng: &mut Rng) -> f64 {
    -(1.0 - rng.f64()).ln()
}

fn weighted(rng: &mut Rng, choices: &[(&'static str, u32)]) -> &'static str {
    let mut left = rng.u32(0..choices.iter().map(|(_, weight)| weight).sum());
    for (name, weight) in choices {
        match left.checked_sub(*weight) {
            Some(rest) => left = rest,
            None => return name,
        }
    }
    choices[0].0
}
