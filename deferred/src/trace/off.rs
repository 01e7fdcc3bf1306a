//! Without the feature: nothing, in no bytes.

use std::panic::Location;

use super::StageKind;
use crate::Deferred;

#[derive(Clone, Default)]
pub(crate) struct Track(());

impl Track {
    #[inline]
    pub(crate) fn new(_: &'static Location<'static>) -> Track {
        Track(())
    }

    #[inline]
    pub(crate) fn attribute_to(&self, _: &'static Location<'static>) {}

    #[inline]
    pub(crate) fn or_new(self, _: &'static Location<'static>, _: bool) -> Track {
        self
    }

    #[inline]
    pub(crate) fn fired(&self, _: bool) {}

    #[inline]
    pub(crate) fn gathers<'a>(&self, _: impl Iterator<Item = &'a Track>) {}

    #[inline]
    pub(crate) fn name(&self, _: &str) {}

    #[inline]
    pub(crate) fn step(&self, _: StageKind, _: &'static Location<'static>) -> StageTrack {
        StageTrack(())
    }
}

pub(crate) struct StageTrack(());

impl StageTrack {
    #[inline]
    pub(crate) fn entered(&self, _: bool) {}

    #[inline]
    pub(crate) fn left<T>(&self, _: &Deferred<T>) {}
}
