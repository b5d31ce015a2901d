//! Labels and facts keep their bits from one policy of an agent to the next: what is set stays set under its name,
//! and an attempt that began under the policy before sets and asks for what it means.

use sensor_common::table::MAX_LABELS;
use sha2::{Digest, Sha256};

use super::compiled::Table;
use super::facts::Fact;

/// Facts of one agent: bits of a word.
const MAX_FACTS: usize = 64;

/// The bits that must not be given to anything else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Busy {
    pub labels: u32,
    pub facts: u64,
}

impl std::ops::BitOr for Busy {
    type Output = Busy;

    fn bitor(self, other: Busy) -> Busy {
        Busy { labels: self.labels | other.labels, facts: self.facts | other.facts }
    }
}

impl Table {
    /// What the table's rules set and ask for.
    pub fn uses(&self) -> Busy {
        self.tests.iter().fold(Busy::default(), |busy, rule| {
            let labels = rule.labels_any | rule.labels_none | rule.labels_set;
            busy | Busy { labels, facts: rule.facts }
        })
    }

    /// Gives labels and facts the bits that they have by `labels` and `facts`, and new ones bits that are not busy.
    pub fn renumber(&mut self, labels: &[String], facts: &[Fact], busy: Busy) -> Result<(), String> {
        let too_many = |what: &str, most: usize| {
            format!(
                "the policy has more {what} than fit beside those of the policy before and those that are set: \
                 {most} together; use fewer, or start the agent anew under it"
            )
        };
        let label_bits =
            bits(&self.labels, labels, busy.labels.into(), MAX_LABELS).ok_or_else(|| too_many("labels", MAX_LABELS))?;
        let fact_bits = bits(&self.facts, facts, busy.facts, MAX_FACTS).ok_or_else(|| too_many("facts", MAX_FACTS))?;
        let own_order = |bits: &[usize]| bits.iter().enumerate().all(|(index, bit)| index == *bit);
        if !own_order(&label_bits) || !own_order(&fact_bits) {
            // Another table from now on: agents of another history must not share it.
            let mut identity = Sha256::new();
            identity.update(self.identity);
            identity.update(format!("{label_bits:?} {fact_bits:?}"));
            self.identity = identity.finalize().into();
        }
        for rule in &mut self.tests {
            for labels in [&mut rule.labels_any, &mut rule.labels_none, &mut rule.labels_set] {
                *labels = moved((*labels).into(), &label_bits) as u32;
            }
            rule.facts = moved(rule.facts, &fact_bits);
        }
        for (label, _) in self.rules.iter_mut().flat_map(|rule| &mut rule.lasts) {
            *label = label_bits.get(*label).copied().unwrap_or(*label);
        }
        self.labels = merged(&self.labels, labels, &label_bits);
        self.facts = merged(&self.facts, facts, &fact_bits);
        Ok(())
    }
}

/// A bit for each of `own`; none where there are not enough.
fn bits<T: PartialEq>(own: &[T], before: &[T], busy: u64, most: usize) -> Option<Vec<usize>> {
    let kept: Vec<Option<usize>> = own.iter().map(|one| before.iter().position(|known| known == one)).collect();
    let mut free = (0..most).filter(|bit| busy & (1 << bit) == 0 && !kept.contains(&Some(*bit)));
    kept.iter().map(|bit| bit.or_else(|| free.next())).collect()
}

fn moved(set: u64, bits: &[usize]) -> u64 {
    let of = bits.iter().enumerate().filter(|(index, _)| set & (1 << index) != 0);
    of.fold(0, |moved, (_, bit)| moved | 1 << bit)
}

/// By bit: what stands there now. Free bits are given lowest first, so that none is skipped.
fn merged<T: Clone>(own: &[T], before: &[T], bits: &[usize]) -> Vec<T> {
    let length = bits.iter().map(|bit| bit + 1).max().unwrap_or(0).max(before.len());
    let at = |bit: usize| {
        let mine = bits.iter().position(|one| *one == bit).and_then(|index| own.get(index));
        mine.or_else(|| before.get(bit)).cloned()
    };
    (0..length).map_while(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::Random;
    use crate::policy::{Variables, parse};

    fn table(rules: &str) -> Table {
        let text = format!("version: 1\nrules:\n{rules}");
        parse("t.yaml", &text).unwrap_or_else(|errors| panic!("{errors}")).compile(&Variables::default()).unwrap()
    }

    #[test]
    fn a_label_is_the_same_one_under_the_next_policy() {
        let before = table(
            "  - { id: A, watch: file.read, label: [x, secret], when: { role: a } }\n  - { id: B, deny: '*', when: { label: secret } }\n",
        );
        let mut after = table(
            "  - { id: C, deny: '*', when: { label: { any: new, not: secret }, task: t, role: a } }\n  - { id: D, watch: file.read, label: { set: new, for: 5m } }\n",
        );
        let identity = after.identity;
        after.renumber(&before.labels, &before.facts, before.uses()).unwrap();
        assert_eq!(after.labels, ["x", "secret", "new"]);
        assert_eq!((after.tests[0].labels_none, after.tests[0].labels_any), (0b10, 0b100));
        assert_eq!((after.tests[1].labels_set, after.rules[1].lasts[0].0), (0b100, 2));
        assert_eq!(after.facts[0], before.facts[0]);
        assert_eq!(after.tests[0].facts, 0b11);
        assert_ne!(after.identity, identity, "agents of another history do not share it");
    }

    #[test]
    fn what_is_in_nobodys_use_is_given_away() {
        let before = table("  - { id: A, watch: file.read, label: x }\n");
        let mut after = table("  - { id: B, watch: file.read, label: y }\n");
        let identity = after.identity;
        after.renumber(&before.labels, &before.facts, Busy::default()).unwrap();
        assert_eq!((after.labels.as_slice(), after.identity), (&["y".to_owned()][..], identity));
    }

    #[test]
    fn more_labels_than_fit_are_refused() {
        let of = |first: u32, count: u32| {
            let labels: Vec<String> = (first..first + count).map(|label| format!("l{label}")).collect();
            table(&format!("  - {{ id: A, watch: file.read, label: [{}] }}\n", labels.join(", ")))
        };
        let before = of(0, 20);
        let (mut fits, mut does_not) = (of(10, 22), of(20, 13));
        fits.renumber(&before.labels, &[], before.uses()).unwrap();
        assert_eq!(fits.labels.len(), 32);
        let error = does_not.renumber(&before.labels, &[], before.uses()).unwrap_err();
        assert!(error.contains("more labels") && error.contains("32"), "{error}");
    }

    /// Whatever came before: each of its own under its own bit, none of the busy ones taken.
    #[test]
    fn bits_are_kept_and_never_shared() {
        let mut random = Random::new("bits_are_kept_and_never_shared");
        let some = |random: &mut Random, most: usize| {
            let mut all: Vec<usize> = (0..random.below(most)).map(|_| random.below(40)).collect();
            let mut seen = std::collections::HashSet::new();
            all.retain(|one| seen.insert(*one));
            all
        };
        for _ in 0..5_000 {
            let (own, before) = (some(&mut random, 16), some(&mut random, 20));
            let busy = before
                .iter()
                .enumerate()
                .filter(|_| random.below(2) == 0)
                .fold(0_u64, |busy, (bit, _)| busy | 1 << bit);
            let given = bits(&own, &before, busy, 36).unwrap();
            let all = merged(&own, &before, &given);
            for (one, bit) in own.iter().zip(&given) {
                assert_eq!(all[*bit], *one, "{own:?} after {before:?}, busy {busy:b}");
                assert!(before.iter().position(|known| known == one).is_none_or(|known| known == *bit));
            }
            for (bit, one) in before.iter().enumerate().filter(|(bit, _)| busy & (1 << bit) != 0) {
                assert_eq!(all[bit], *one, "{own:?} after {before:?}, busy {busy:b}");
            }
        }
    }
}
