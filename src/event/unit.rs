//! Whom an event belongs to, as far as noise depends on it: events of one user are alike, so the spread
//! between users, not between events, says how far chance goes. Users are told apart by 32 buckets. The same
//! hash tells requests apart, where labels are joined with the answers that they are of.

/// Buckets that units are spread over.
pub const UNIT_BUCKETS: usize = 32;
/// The bucket of an event that names neither a unit nor a request: one past the last.
pub const NO_UNIT: u8 = UNIT_BUCKETS as u8;

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
const INCREMENT: u64 = 0xd1b5_4a32_d192_ed03;

/// The hash of a unit or a request: 64 bits of its bytes, the same on every machine and in every version, so
/// that the counts of all replicas add up.
///
/// It goes eight bytes (little-endian, the last ones filled up with zeros) at a time: each is XORed to
/// the state, which begins as the length; the state is then multiplied by 9e3779b97f4a7c15 to 128 bits, whose
/// halves are XORed, and d1b54a32d192ed03 is added.
#[inline]
pub fn unit_hash(unit: &[u8]) -> u64 {
    let mut state = unit.len() as u64;
    let (words, rest) = unit.as_chunks::<8>();
    for word in words {
        state = mixed(state, u64::from_le_bytes(*word));
    }
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        state = mixed(state, u64::from_le_bytes(word));
    }
    // The halves of one product are not far enough from each other for short units.
    mixed(state, 0)
}

/// The bucket of a unit, below [`UNIT_BUCKETS`]: the highest five bits of its hash.
#[inline]
pub fn bucket_of(hash: u64) -> u8 {
    (hash >> 59) as u8
}

#[inline]
fn mixed(state: u64, word: u64) -> u64 {
    let product = u128::from(state ^ word) * u128::from(MULTIPLIER);
    ((product >> 64) as u64 ^ product as u64).wrapping_add(INCREMENT)
}

/// [`unit_hash`] of an integer: that of its decimal digits, so that `77` and `"77"` are one unit.
pub fn integer_hash(unit: i128) -> u64 {
    let mut text = [0; 40];
    let mut start = text.len();
    let mut left = unit.unsigned_abs();
    loop {
        start -= 1;
        text[start] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    if unit < 0 {
        start -= 1;
        text[start] = b'-';
    }
    unit_hash(&text[start..])
}

/// [`integer_hash`] of a double that is a whole number, as programs write integers of a column with gaps:
/// `77.0`. From 2^53 on a double may stand for several integers, and counts as none.
pub fn double_hash(unit: f64) -> Option<u64> {
    let is_whole = unit.trunc() == unit && unit.abs() < (1_u64 << 53) as f64;
    is_whole.then(|| integer_hash(unit as i128))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Worked out by another program from the description.
    #[test]
    fn the_buckets_never_change() {
        let cases = [
            ("", 26),
            ("a", 23),
            ("77", 24),
            ("user-77", 27),
            ("b7c1", 17),
            ("12345678", 26),
            ("123456789", 26),
            ("ผู้ใช้", 1),
            ("0b1f6c9e-6a55-4f0e-9a37-0d0c1d0f7a11", 12),
        ];
        for (unit, bucket) in cases {
            assert_eq!(bucket_of(unit_hash(unit.as_bytes())), bucket, "{unit:?}");
        }
        for integer in [0, 7, -77, i128::from(i64::MIN), i128::from(u64::MAX), i128::MIN, i128::MAX] {
            assert_eq!(integer_hash(integer), unit_hash(integer.to_string().as_bytes()), "{integer}");
        }
    }

    #[test]
    fn a_double_is_the_integer_it_equals() {
        for (unit, integer) in [(77.0, 77), (-0.0, 0), (-9007199254740991.0, -9007199254740991)] {
            assert_eq!(double_hash(unit), Some(integer_hash(integer)));
        }
        for unit in [0.5, 9007199254740992.0, f64::NAN, f64::INFINITY] {
            assert_eq!(double_hash(unit), None);
        }
    }

    #[test]
    fn units_of_any_make_are_spread_evenly() {
        let makes: [fn(u64) -> String; 5] = [
            |n| n.to_string(),
            |n| format!("user-{n:06}"),
            |n| format!("{n:032x}"),
            |n| format!("{n:08x}-0000-4000-8000-00000000000{}", n % 7),
            |n| format!("{}", n * 64),
        ];
        for (number, make) in makes.iter().enumerate() {
            let mut counts = [0_u64; UNIT_BUCKETS];
            let units = 64_000;
            (0..units).for_each(|n| counts[usize::from(bucket_of(unit_hash(make(n).as_bytes())))] += 1);
            let expected = units as f64 / UNIT_BUCKETS as f64;
            let chi: f64 = counts.iter().map(|count| (*count as f64 - expected).powi(2) / expected).sum();
            // 31 degrees of freedom: above 72 once in 30,000 times by chance.
            assert!(chi < 72.0, "make {number}: {chi}, {counts:?}");
        }
    }

    /// Requests of any make are told apart, also by the half of the hash that a sample is taken by.
    #[test]
    fn requests_have_hashes_of_their_own() {
        let makes: [fn(u64) -> String; 3] =
            [|n| n.to_string(), |n| format!("{n:032x}"), |n| format!("req-{n:08}-{:x}", n * 977)];
        for make in makes {
            let mut hashes: Vec<u64> = (0..200_000).map(|n| unit_hash(make(n).as_bytes())).collect();
            let tenth = hashes.iter().filter(|hash| (**hash as u32) < u32::MAX / 10).count();
            // Standard deviation 134.
            assert!((19_300..20_700).contains(&tenth), "{tenth}");
            hashes.sort_unstable();
            hashes.dedup();
            assert_eq!(hashes.len(), 200_000);
        }
    }
}
