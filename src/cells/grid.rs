//! Grids: what the values of one series are counted on.

use super::fixed::FixedScale;
use hashbrown::HashMap;
use sha2::{Digest, Sha256};

/// Categories that get a cell of their own; further known ones share the cell `other`.
pub const MAX_CATEGORIES: usize = 255;

/// The cells of one series. Fixed by a baseline, never changed while running; counts of different grids are
/// never added, which [`Grid::hash`] guards.
#[derive(Debug, Clone, PartialEq)]
pub enum Grid {
    Numeric(NumericGrid),
    Categorical(Categories),
    /// Two cells: `false`, `true`.
    Boolean,
}

/// Strictly increasing, NaN-free cut points; `-0.0` is stored as `0.0`. May hold ±infinity.
#[derive(Debug, Clone)]
pub struct NumericGrid {
    /// The cuts, then NaN up to a power of two: what the branch-free search walks (`rank.rs`).
    table: Vec<f64>,
    cuts: usize,
    /// The cuts are 32-bit floats, and so is what is counted.
    single: bool,
    scale: FixedScale,
}

impl PartialEq for NumericGrid {
    fn eq(&self, other: &Self) -> bool {
        self.single == other.single && self.cuts() == other.cuts()
    }
}

/// The known categories: the most frequent with a cell each, the rest sharing `other`.
#[derive(Debug, Clone, PartialEq)]
pub struct Categories {
    named: Vec<String>,
    others: Vec<String>,
    code: HashMap<String, u16>,
}

impl NumericGrid {
    /// Sorts and deduplicates `cuts`; drops NaN.
    pub fn new(mut cuts: Vec<f64>) -> Self {
        cuts.retain(|cut| !cut.is_nan());
        cuts.iter_mut().for_each(|cut| *cut += 0.0);
        cuts.sort_unstable_by(f64::total_cmp);
        cuts.dedup();
        let (count, scale) = (cuts.len(), FixedScale::of_cuts(&cuts));
        cuts.resize((count + 1).next_power_of_two(), f64::NAN);
        NumericGrid { table: cuts, cuts: count, single: false, scale }
    }

    /// A grid of 32-bit floats: cuts are rounded to such, as values are by [`NumericGrid::rounded`] before they are
    /// counted. A live 0.1 then ties with a baseline's 0.1.
    pub fn of_single(cuts: Vec<f64>) -> Self {
        NumericGrid { single: true, ..NumericGrid::new(cuts.into_iter().map(round_to_single).collect()) }
    }

    /// Whether values are counted as 32-bit floats.
    pub fn is_single(&self) -> bool {
        self.single
    }

    /// The value that is counted for `value`.
    pub fn rounded(&self, value: f64) -> f64 {
        if self.single { round_to_single(value) } else { value }
    }

    pub fn cuts(&self) -> &[f64] {
        &self.table[..self.cuts]
    }

    /// 2k+1 for k cuts.
    pub fn cells(&self) -> usize {
        2 * self.cuts + 1
    }

    /// The unit of sums of values.
    pub fn scale(&self) -> &FixedScale {
        &self.scale
    }

    /// The cuts followed by at least one NaN; the length is a power of two.
    pub(super) fn search_table(&self) -> &[f64] {
        &self.table
    }
}

/// The nearest 32-bit float. What is finite stays so.
fn round_to_single(value: f64) -> f64 {
    let single = value as f32;
    let finite = if value.is_finite() { single.clamp(f32::MIN, f32::MAX) } else { single };
    f64::from(finite)
}

impl Categories {
    /// `named` in cell order (at most [`MAX_CATEGORIES`]), then the known rest. A name that stands twice keeps
    /// its first place.
    pub fn new(named: Vec<String>, others: Vec<String>) -> Self {
        assert!(named.len() <= MAX_CATEGORIES, "more named categories than cells");
        let mut code = HashMap::with_capacity(named.len() + others.len());
        for (index, name) in named.iter().enumerate() {
            code.entry(name.clone()).or_insert(index as u16);
        }
        for name in &others {
            code.entry(name.clone()).or_insert(named.len() as u16);
        }
        Categories { named, others, code }
    }

    pub fn named(&self) -> &[String] {
        &self.named
    }

    pub fn others(&self) -> &[String] {
        &self.others
    }

    /// The cell of `other`: after the named ones.
    pub fn other_cell(&self) -> u16 {
        self.named.len() as u16
    }

    /// The cell of categories that training never saw: the last one.
    pub fn unseen_cell(&self) -> u16 {
        self.named.len() as u16 + 1
    }

    pub fn cells(&self) -> usize {
        self.named.len() + 2
    }

    /// The cell of a category.
    pub fn cell_of(&self, name: &str) -> u16 {
        self.code.get(name).copied().unwrap_or(self.unseen_cell())
    }
}

impl Grid {
    pub fn cells(&self) -> usize {
        match self {
            Grid::Numeric(grid) => grid.cells(),
            Grid::Categorical(categories) => categories.cells(),
            Grid::Boolean => 2,
        }
    }

    /// The first eight bytes (big-endian) of a SHA-256 over the kind and the cut points or names. Travels
    /// with every count; equal grids have equal hashes on every machine and version.
    pub fn hash(&self) -> u64 {
        let mut digest = Sha256::new();
        match self {
            Grid::Numeric(grid) => {
                digest.update(if grid.single { b"numeri32/1" as &[u8] } else { b"numeric/1" });
                grid.cuts().iter().for_each(|cut| digest.update(cut.to_bits().to_be_bytes()));
            }
            Grid::Categorical(categories) => {
                digest.update(b"categorical/1");
                for (list, mark) in [(&categories.named, b'n'), (&categories.others, b'o')] {
                    for name in list {
                        digest.update([mark]);
                        digest.update((name.len() as u64).to_be_bytes());
                        digest.update(name.as_bytes());
                    }
                }
            }
            Grid::Boolean => digest.update(b"boolean/1"),
        }
        let bytes = digest.finalize();
        u64::from_be_bytes(bytes[..8].try_into().expect("a SHA-256 has 32 bytes"))
    }
}
