#!/usr/bin/env python3
"""Makes the small fraud data set of the README's guide: guide/train.parquet and guide/events.ndjson.

    pip install numpy==2.4.6 polars==2.1.0
    python datasets/make_guide.py

Nobody's payments: everything comes from a fixed seed. The events are drawn from the same distribution as the training
rows, so a guide that follows them sees no drift until its reader makes some.
"""

import json
from pathlib import Path

import numpy as np
import polars as pl

SEED = 20260923
HERE = Path(__file__).parent / "guide"
COUNTRIES = ["DE", "FR", "GB", "US", "TH", "JP", "BR", "IN", "NG", "PL", "ES", "SE"]
SHARES = np.array([18, 14, 13, 12, 9, 8, 7, 6, 4, 4, 3, 2]) / 100
RISK = dict(zip(COUNTRIES, [0.0, 0.1, 0.0, 0.2, 0.5, -0.3, 0.6, 0.4, 0.9, 0.1, 0.1, -0.4]))


def draw(rng, rows):
    """One batch of payments, and what the model answered."""
    amount = np.maximum(np.round(rng.lognormal(3.4, 0.9, rows), 2), 0.01)
    age_days = np.round(rng.exponential(400.0, rows), 1)
    n_orders = rng.poisson(1.0 + age_days / 60.0)
    country = rng.choice(COUNTRIES, rows, p=SHARES)
    is_new = age_days < 30.0
    odds = -3.2 + 0.9 * (np.log(amount) - 3.4) + 1.4 * is_new - 0.05 * n_orders
    odds += np.array([RISK[c] for c in country]) + rng.normal(0.0, 0.6, rows)
    score = np.round(1.0 / (1.0 + np.exp(-odds)), 4)
    return pl.DataFrame(
        {
            "amount": amount,
            "age_days": age_days,
            "n_orders": n_orders,
            "country": country,
            "is_new": is_new,
            "score": score,
            "class": np.where(score >= 0.2, "fraud", "legit"),
        }
    )


def event(number, row):
    """One message, as a model server would write it; without a timestamp, so that the record's counts."""
    predictions = {name: row.pop(name) for name in ("score", "class")}
    return {
        "request_id": f"g{number:04}",
        "model": "fraud",
        "model_version": "v1",
        "role": "stable",
        "features": row,
        "predictions": predictions,
    }


if __name__ == "__main__":
    rng = np.random.default_rng(SEED)
    HERE.mkdir(exist_ok=True)
    draw(rng, 20_000).write_parquet(HERE / "train.parquet", compression="zstd", compression_level=19, statistics=False)
    events = [event(i, row) for i, row in enumerate(draw(rng, 2_000).iter_rows(named=True))]
    lines = [json.dumps(e, separators=(",", ":")) + "\n" for e in events]
    (HERE / "events.ndjson").write_text("".join(lines))
    for file in sorted(HERE.iterdir()):
        print(f"{file.name}: {file.stat().st_size} bytes")
