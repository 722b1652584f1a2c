//! Decimals of many digits: the nearest double of `mantissa / 10^places`.
//!
//! Up to 2^53 one division of exact doubles is correctly rounded. Beyond it, which is where the shortest text
//! of a double mostly lies (17 digits), the mantissa is multiplied by the reciprocal of 5^places, kept to 128
//! bits and rounded down. The true product lies a known, tiny distance above the computed one; when both ends of
//! that distance round to the same double, that is the answer, else (for ties, and once in about 2^70) there is
//! none, and the standard library decides.

/// The most digits after the point.
const MAX_PLACES: usize = 18;
/// Doubles hold every integer up to here.
const EXACT: u64 = 1 << 53;

/// The powers of ten that are used here; a double holds them exactly.
const POWERS: [f64; MAX_PLACES + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18];

/// `bits`: the reciprocal of 5^places times 2^(127 + scale), rounded down; its highest bit is set.
#[derive(Clone, Copy)]
struct Reciprocal {
    bits: u128,
    scale: u32,
}

const RECIPROCALS: [Reciprocal; MAX_PLACES + 1] = reciprocals();

const fn reciprocals() -> [Reciprocal; MAX_PLACES + 1] {
    let mut all = [Reciprocal { bits: 1 << 127, scale: 0 }; MAX_PLACES + 1];
    let mut power = 1_u64;
    let mut places = 1;
    while places <= MAX_PLACES {
        power *= 5;
        all[places] = reciprocal(power);
        places += 1;
    }
    all
}

/// Long division, bit by bit, of a power of two by an odd `divisor` above 1.
const fn reciprocal(divisor: u64) -> Reciprocal {
    let scale = u64::BITS - divisor.leading_zeros();
    let mut bits = 1_u128;
    let mut remainder = (1_u64 << scale) - divisor;
    let mut count = 0;
    while count < 127 {
        remainder *= 2;
        bits <<= 1;
        if remainder >= divisor {
            remainder -= divisor;
            bits |= 1;
        }
        count += 1;
    }
    Reciprocal { bits, scale }
}

/// The double nearest to `mantissa / 10^places`, ties to even. `None`: more places than are known here, or
/// too close to the middle of two doubles to be told.
#[inline]
pub(super) fn decimal(mantissa: u64, places: usize) -> Option<f64> {
    if mantissa <= EXACT {
        return Some(mantissa as i64 as f64 / POWERS.get(places)?);
    }
    let reciprocal = RECIPROCALS.get(places)?;
    let shift = mantissa.leading_zeros();
    let factor = u128::from(mantissa << shift);
    // The upper 128 bits of a product of 192; the true one is less than 2 above it.
    let low = (factor * (reciprocal.bits & u128::from(u64::MAX))) >> 64;
    let product = factor * (reciprocal.bits >> 64) + low;
    let normalised = product.leading_zeros();
    let product = product << normalised;
    const BELOW: u32 = 128 - 54;
    let rounding = (product >> BELOW) as u64;
    let rest = product & ((1 << BELOW) - 1);
    let is_near_next = rest >= (1 << BELOW) - 4;
    let may_be_tie = rest == 0 && rounding & 1 == 1;
    if is_near_next || may_be_tie {
        return None;
    }
    let bits = (rounding >> 1) + (rounding & 1);
    // 75 bits were cut off a product that was 2^(127 + scale + shift + normalised) times too large, less
    // the 64 bits that were cut off before; and 10^places is 2^places more than 5^places.
    let exponent = 75 + 64 - 127 - i64::from(reciprocal.scale + shift + normalised) - places as i64;
    Some(bits as i64 as f64 * f64::from_bits(((1023 + exponent) as u64) << 52))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(mantissa: u64, places: usize) -> bool {
        let wanted: f64 = format!("{mantissa}e-{places}").parse().expect("a number");
        let found = decimal(mantissa, places);
        assert!(found.is_none_or(|found| found.to_bits() == wanted.to_bits()), "{mantissa}e-{places}");
        found.is_some()
    }

    #[test]
    fn decimals_are_the_doubles_of_the_standard_library() {
        let mut random = fastrand::Rng::with_seed(13);
        let mut missed = 0;
        for _ in 0..300_000 {
            let mantissa = random.u64(..) >> random.u32(0..20);
            missed += u32::from(!compare(mantissa, random.usize(1..=MAX_PLACES)));
        }
        assert!(missed < 3_000, "{missed} of 300,000 are left to the standard library");
    }

    #[test]
    fn around_the_middle_of_two_doubles_nothing_is_guessed() {
        let mut random = fastrand::Rng::with_seed(14);
        for _ in 0..100_000 {
            let exponent = random.u32(1..=10);
            // An odd multiple of half the distance of its neighbours, times a power of ten, and one off.
            let middle = ((random.u64(EXACT..2 * EXACT) << 1) | 1) << (exponent - 1);
            let power = 10_u64.pow(random.u32(0..3));
            for near in [0, 1, u64::MAX] {
                if let Some(mantissa) = middle.checked_mul(power) {
                    compare(mantissa.wrapping_add(near), power.ilog10() as usize);
                }
            }
        }
        assert!(decimal(u64::MAX, MAX_PLACES).is_some());
        assert_eq!(decimal(u64::MAX, MAX_PLACES + 1), None);
    }
}
