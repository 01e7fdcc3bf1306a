//! Typed, callback-chain Deferreds.
