//! Stand-ins for the records when the feature is off. They have no size, and their methods do nothing.

use std::panic::Location;

use super::{StageKind, TracedState};
use crate::failure::Settled;

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
    pub(crate) fn or_new<T>(self, _: &'static Location<'static>, _: &impl TracedState<T>) -> Track {
        self
    }

    #[inline]
    pub(crate) fn fired<T>(&self, _: &Settled<T>) {}

    #[inline]
    pub(crate) fn lent(&self) {}

    #[inline]
    pub(crate) fn gathers<'a>(&self, _: impl Iterator<Item = &'a Track>) {}

    #[inline]
    pub(crate) fn name(&self, _: &str) {}

    #[inline]
    pub(crate) fn show<T>(&self, _: &impl TracedState<T>) {}

    #[inline]
    pub(crate) fn step(&self, _: StageKind, _: &'static Location<'static>) -> StageTrack {
        StageTrack(())
    }
}

pub(crate) struct StageTrack(());

impl StageTrack {
    #[inline]
    pub(crate) fn entered<T>(&self, _: &Settled<T>) {}

    #[inline]
    pub(crate) fn left<T>(&self, _: &impl TracedState<T>, _: &Track) {}
}
