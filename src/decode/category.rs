//! The cells of categories by their names as they stand in the raw text.
//!
//! Category names are mostly short: codes, countries, words. Up to sixteen bytes they are two machine words,
//! and finding them among the known ones is a multiplication and a comparison, without hashing byte by byte.

use super::scan::{plain_string, two_words};
use crate::cells::Categories;

/// Names of up to this many bytes are looked up as words.
const SHORT: usize = 16;

/// The short names of a series' categories.
pub(super) struct ShortNames {
    /// Each name at the place that [`ShortNames::search`] begins at or behind it. A name of zeros is a free
    /// place. At least half of the places are free, so every search ends.
    table: Vec<ShortName>,
}

/// A name of at most sixteen bytes, filled up with zeros, and its cell.
#[derive(Clone, Copy, Default)]
struct ShortName {
    low: u64,
    high: u64,
    cell: u16,
}

impl ShortNames {
    pub(super) fn new(categories: &Categories) -> ShortNames {
        // A zero byte is never part of a string without escapes, so it may stand for "no more bytes".
        let is_short = |name: &&String| (1..=SHORT).contains(&name.len()) && !name.contains('\0');
        let names = || categories.named().iter().chain(categories.others()).filter(is_short);
        let mut short =
            ShortNames { table: vec![ShortName::default(); (2 * names().count()).next_power_of_two()] };
        for name in names() {
            let (low, high) = two_words(name.as_bytes(), 0);
            if let Err(free) = short.search(low, high) {
                short.table[free] = ShortName { low, high, cell: categories.cell_of(name) };
            }
        }
        short
    }

    /// The cell of the category whose name, a string without escapes, starts at `at`, and where it ends.
    #[inline]
    pub(super) fn read(&self, categories: &Categories, text: &str, at: usize) -> Option<(u16, usize)> {
        let (name, end) = plain_string(text, at)?;
        if name.is_empty() || name.len() > SHORT {
            return Some((categories.cell_of(name), end));
        }
        let (low, high) = two_words(text.as_bytes(), at + 1);
        let unused = 8 * (SHORT - name.len()) as u32;
        let both = (u128::from(high) << 64 | u128::from(low)) << unused >> unused;
        let cell = self.search(both as u64, (both >> 64) as u64);
        Some((cell.unwrap_or(categories.unseen_cell()), end))
    }

    /// The cell of a name, or the free place where it would stand.
    #[inline]
    fn search(&self, low: u64, high: u64) -> Result<u16, usize> {
        let mask = self.table.len() - 1;
        let mixed = (low ^ high.rotate_left(29)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut place = (mixed >> 32) as usize & mask;
        loop {
            let found = self.table[place];
            if (found.low, found.high) == (low, high) {
                return Ok(found.cell);
            }
            if (found.low, found.high) == (0, 0) {
                return Err(place);
            }
            place = (place + 1) & mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_length_have_the_cell_of_the_categories() {
        let known = |count: usize, letter: char| -> Vec<String> {
            (0..count).map(|index| letter.to_string().repeat(index % 20) + &index.to_string()).collect()
        };
        let mut named = known(200, 'ж');
        named.extend([
            "".into(),
            "\0".into(),
            "a\0".into(),
            "sixteen bytes ok".into(),
            "seventeen bytes o".into(),
        ]);
        let categories = Categories::new(named.clone(), known(500, 'o'));
        let short = ShortNames::new(&categories);
        let unseen = ["x", "sixteen bytes o", "sixteen bytes oh", "o", "ж"].map(str::to_owned);
        for name in named.iter().chain(categories.others()).chain(&unseen).filter(|name| !name.contains('\0'))
        {
            for (before, behind) in [("", ""), ("1", ",\"ж\":12345678901234567890")] {
                let text = format!("{before}\"{name}\"{behind}");
                let read = short.read(&categories, &text, before.len());
                assert_eq!(read, Some((categories.cell_of(name), before.len() + name.len() + 2)), "{name}");
            }
        }
        let none = Categories::new(Vec::new(), Vec::new());
        assert_eq!(ShortNames::new(&none).read(&none, "\"a\"", 0), Some((none.unseen_cell(), 3)));
    }
}
