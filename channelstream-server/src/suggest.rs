//! Suggestions: the known word that somebody probably meant by a mistyped one.

/// How similar two words must be, from 0 to 1.
const SIMILAR: f64 = 0.8;

/// Returns the known word that is most similar to `word`, if one is similar enough.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(similarity, _)| *similarity > SIMILAR)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_most_similar_word_is_suggested_if_it_is_similar_enough() {
        let nearest = |word| nearest(word, ["port", "host", "trusted_proxies"].into_iter());
        assert_eq!(nearest("prot"), Some("port"));
        assert_eq!(nearest("trusted_proxy"), Some("trusted_proxies"));
        assert_eq!(nearest("demo"), None);
        assert_eq!(nearest(""), None);
    }
}
