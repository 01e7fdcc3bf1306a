//! Header fields: a borrowed view of a parsed block, and an owned copy.

use std::fmt;
use std::sync::OnceLock;

use ::http::{HeaderMap, HeaderName, HeaderValue};

/// The position of one field in its block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) name: (u32, u32),
    pub(crate) value: (u32, u32),
}

impl Span {
    /// Returns name and value.
    #[inline]
    pub(crate) fn of<'a>(&self, block: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        (slice(block, self.name), slice(block, self.value))
    }

    /// Returns the position of `inner`, a part of `block`.
    pub(crate) fn within(block: &[u8], inner: &[u8]) -> (u32, u32) {
        let start = inner.as_ptr() as usize - block.as_ptr() as usize;
        (start as u32, (start + inner.len()) as u32)
    }
}

#[inline]
pub(crate) fn slice(block: &[u8], range: (u32, u32)) -> &[u8] {
    block.get(range.0 as usize..range.1 as usize).unwrap_or_default()
}

/// The header fields of a message, in the received order, as a view of the received bytes.
///
/// Names are case-insensitive. A value has no white space around it. Nothing is copied or allocated;
/// [`Fields::to_headers`] creates a copy that outlives the buffer.
#[derive(Clone, Copy, Default)]
pub struct Fields<'a> {
    block: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(block: &'a [u8], spans: &'a [Span]) -> Fields<'a> {
        Fields { block, spans }
    }

    /// Returns the number of fields.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Returns whether the message has no fields.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Returns name and value of each field.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'a str, &'a [u8])> + use<'a> {
        let block = self.block;
        self.spans.iter().map(move |span| (name_of(block, span), slice(block, span.value)))
    }

    /// Returns the value of the first field with this name.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.get_all(name).next()
    }

    /// Returns the values of all fields with this name.
    pub fn get_all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let fields = self.spans.iter().map(|span| span.of(self.block));
        fields.filter(|(own, _)| own.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// Returns an owned copy.
    pub fn to_headers(&self) -> Headers {
        Headers { block: self.block.into(), spans: self.spans.into(), map: OnceLock::new() }
    }

    /// Returns a copy as a map of the `http` crate.
    pub fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::try_with_capacity(self.len()).unwrap_or_default();
        for (name, value) in self.iter() {
            // The parser accepts only names and values that the map accepts, so nothing is lost here.
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value))
            {
                // Fails only above 32768 fields, which needs higher limits than the default.
                let _ = map.try_append(name, value);
            }
        }
        map
    }
}

fn name_of<'a>(block: &'a [u8], span: &Span) -> &'a str {
    // The parser accepts only tokens, which are ASCII.
    std::str::from_utf8(slice(block, span.name)).unwrap_or_default()
}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(name, value)| (name, value.escape_ascii().to_string())))
            .finish()
    }
}

/// The header fields of a message, owned.
///
/// It holds the bytes of the head and the positions of the fields. The first call of [`Headers::map`] creates
/// the [`HeaderMap`] of the `http` crate. So a message whose headers are not read, or only by
/// [`Headers::get`], does not pay for the map.
///
/// # Examples
///
/// ```
/// use twistor::http::Headers;
///
/// let headers = Headers::default();
/// assert!(headers.get("content-type").is_none());
/// assert!(headers.map().is_empty());
/// ```
#[derive(Clone, Default)]
pub struct Headers {
    block: Box<[u8]>,
    spans: Box<[Span]>,
    map: OnceLock<HeaderMap>,
}

impl Headers {
    /// Returns a view of the fields.
    pub fn fields(&self) -> Fields<'_> {
        Fields::new(&self.block, &self.spans)
    }

    /// Returns the number of fields.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Returns whether the message has no fields.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Returns name and value of each field, in the received order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &[u8])> {
        self.fields().iter()
    }

    /// Returns the value of the first field with this name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields().get(name)
    }

    /// Returns the values of all fields with this name.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.fields().get_all(name)
    }

    /// Returns the fields as a map of the `http` crate, created by the first call.
    pub fn map(&self) -> &HeaderMap {
        self.map.get_or_init(|| self.fields().to_map())
    }

    /// Converts to the map.
    pub fn into_map(self) -> HeaderMap {
        self.map.into_inner().unwrap_or_else(|| Fields::new(&self.block, &self.spans).to_map())
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fields().fmt(f)
    }
}
