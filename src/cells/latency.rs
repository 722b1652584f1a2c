//! The cells that request latencies are counted in: fixed ones, so that the counts of all replicas, versions and
//! times add up. Each power of two of milliseconds, from 1/128 ms (7.8 µs) to 2^20 ms (17 minutes), is cut into
//! 32 cells of one width, so a cell's middle is within 1.6 % of every latency in it. What is shorter stands in
//! the first cell, what is longer in the last.

/// Cells of one power of two.
const PARTS: u32 = 32;
/// log2 of PARTS.
const PART_BITS: u32 = PARTS.trailing_zeros();
/// The lowest and the highest power of two, in milliseconds.
const LOWEST: i32 = -7;
const HIGHEST: i32 = 20;

/// How many cells there are.
pub const LATENCY_CELLS: usize = ((HIGHEST - LOWEST) as u32 * PARTS) as usize + 2;

const MANTISSA_BITS: u32 = f64::MANTISSA_DIGITS - 1;
/// The biased exponent of the lowest power, followed by no parts.
const LOWEST_CODE: u64 = ((1023 + LOWEST) as u64) << PART_BITS;

/// The cell of a latency in milliseconds; `None` of what is none (negative, NaN or infinite).
#[inline]
pub fn latency_cell(milliseconds: f64) -> Option<u16> {
    if !(0.0..f64::INFINITY).contains(&milliseconds) {
        return None;
    }
    // The exponent and the highest bits of the mantissa number the cells in order.
    let code = (milliseconds + 0.0).to_bits() >> (MANTISSA_BITS - PART_BITS);
    let cell = code.saturating_add(1).saturating_sub(LOWEST_CODE);
    Some(cell.min(LATENCY_CELLS as u64 - 1) as u16)
}

/// The lowest latency of a cell from the second one on, in milliseconds: of cell c it is the upper end of c − 1.
pub fn latency_edge(cell: usize) -> f64 {
    let code = LOWEST_CODE + cell.clamp(1, LATENCY_CELLS - 1) as u64 - 1;
    f64::from_bits(code << (MANTISSA_BITS - PART_BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_stands_between_its_cells_edges_and_near_its_middle() {
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..100_000 {
            let latency = 2_f64.powf(random.f64() * 27.0 - 7.0);
            let cell = usize::from(latency_cell(latency).expect("a latency"));
            let (lower, upper) = (latency_edge(cell), latency_edge(cell + 1));
            assert!(lower <= latency && latency < upper, "{lower} {latency} {upper}");
            assert!(((lower + upper) / 2.0 / latency - 1.0).abs() < 0.016);
        }
    }

    #[test]
    fn edges_are_the_first_of_their_cells_and_the_ends_take_the_rest() {
        for cell in 1..LATENCY_CELLS {
            let edge = latency_edge(cell);
            assert_eq!(latency_cell(edge), Some(cell as u16));
            assert_eq!(latency_cell(edge.next_down()), Some(cell as u16 - 1));
        }
        assert_eq!((latency_edge(1), latency_edge(LATENCY_CELLS - 1)), (1.0 / 128.0, 1_048_576.0));
        assert_eq!((latency_cell(0.0), latency_cell(-0.0)), (Some(0), Some(0)));
        assert_eq!(latency_cell(f64::MAX), Some(LATENCY_CELLS as u16 - 1));
        for none in [-1e-300, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(latency_cell(none), None);
        }
    }
}
