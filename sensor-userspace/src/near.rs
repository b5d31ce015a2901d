//! The word that was meant in place of one that is not known.

/// "did you mean …", when one of `words` is near.
pub fn suggestion<'a>(word: &str, words: impl Iterator<Item = &'a str>) -> Option<String> {
    nearest(word, words).map(|candidate| format!("did you mean `{candidate}`?"))
}

/// The nearest of `words`, if any is near.
fn nearest<'a>(word: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Distances to a monster cost its length each, and nothing is near it.
    if word.len() > 64 {
        return None;
    }
    let limit = (word.chars().count() / 3).clamp(1, 3);
    words
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (row, a) in from.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, b) in to.iter().enumerate() {
            let replaced = last[column] + usize::from(a != b);
            let mut best = replaced.min(last[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && *a == to[column - 1] && from[row - 1] == *b {
                best = best.min(before[column - 1] + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut last, current);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_hand_are_near() {
        let words = ["ledger.dir", "seal.mode", "rules"];
        for (slip, word) in [("ledgre.dir", "ledger.dir"), ("seal.mod", "seal.mode"), ("rulez", "rules")] {
            assert_eq!(nearest(slip, words.into_iter()), Some(word));
        }
        for far in ["", "x", "something.else", &"r".repeat(1000)] {
            assert_eq!(nearest(far, words.into_iter()), None, "{far}");
        }
    }
}
