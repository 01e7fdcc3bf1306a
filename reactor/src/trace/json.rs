//! JSON strings.

/// Returns a JSON string that is also safe inside an HTML script element.
pub(super) fn string(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            // A script element ends at `</`; some parsers end a line at U+2028 and U+2029.
            c if c < ' ' || c == '<' || c == '\u{2028}' || c == '\u{2029}' => {
                json.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

/// Returns a time in microseconds, as trace viewers count it.
pub(super) fn micros(time: std::time::Duration) -> String {
    let nanos = time.as_nanos();
    format!("{}.{:03}", nanos / 1000, nanos % 1000)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{micros, string};

    #[test]
    fn strings_are_escaped_for_json_and_for_a_script() {
        // R20.4
        assert_eq!(string("a \"b\" \\ \n\u{1}é</script>"), r#""a \"b\" \\ \u000a\u0001é\u003c/script>""#);
        assert_eq!(micros(Duration::from_nanos(1_234_005)), "1234.005");
    }
}
