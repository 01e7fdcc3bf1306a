//! Helpers that the targets share.

/// Splits `wire` into pieces, as reads from a socket might: 0 leaves it whole, 1 makes each byte a piece, and any other
/// number is a seed from which lengths are drawn, short ones more often.
pub fn pieces(how: u8, wire: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let (mut rest, mut random) = (wire, u64::from(how));
    while !rest.is_empty() {
        let length = match how {
            0 => rest.len(),
            1 => 1,
            _ => {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let draw = (random >> 33) as usize;
                1 + draw / 4 % [2, 4, 16, 256][draw % 4]
            }
        };
        let (piece, after) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Accepts panics whose message starts with this text, because a target causes them. Any other panic stops the fuzzer,
/// even one that the library would catch.
pub fn allow_panics(prefix: &'static str) {
    let fatal = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !info.payload_as_str().is_some_and(|text| text.starts_with(prefix)) {
            fatal(info);
        }
    }));
}
