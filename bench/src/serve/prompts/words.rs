//! Words of three letters that tokenizers know.

/// What a token is taken for where no tokenizer counts: such a word with its space, and what simulated workers count.
pub(super) const BYTES_PER_TOKEN: usize = 4;

const WORDS: [&str; 64] = [
    "act", "add", "age", "air", "all", "and", "any", "are", "art", "ask", "bad", "bed", "big",
    "box", "boy", "but", "buy", "can", "car", "cut", "day", "did", "dog", "eat", "end", "eye",
    "far", "few", "for", "get", "god", "got", "had", "has", "her", "him", "his", "hot", "how",
    "its", "job", "key", "law", "let", "low", "man", "may", "men", "new", "not", "now", "off",
    "old", "one", "our", "out", "own", "pay", "put", "run", "say", "see", "set", "the",
];

pub(super) fn push(text: &mut String, count: u32, dice: &mut fastrand::Rng) {
    for _ in 0..count {
        text.push(' ');
        text.push_str(WORDS[dice.usize(..WORDS.len())]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_three_letters_and_there_once() {
        let once: std::collections::BTreeSet<_> = WORDS.iter().collect();
        assert_eq!(once.len(), WORDS.len());
        assert!(WORDS.iter().all(|word| word.len() == BYTES_PER_TOKEN - 1));
    }
}
