//! The replacement of the simulation when the feature `simulation` is off: a type without values. The compiler
//! removes the enum variant that holds it, and all code that would handle it.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::rc::{Rc, Weak};

use super::Wait;
use crate::core::Core;
use crate::time::Time;

#[derive(Debug)]
pub(crate) enum Simulated {}

impl Simulated {
    pub(crate) fn wait(&self, _: &Time, _: Wait) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn host(&self) -> Option<&(Weak<Core>, IpAddr)> {
        match *self {}
    }

    pub(crate) fn parts(&self) -> &RefCell<Vec<(TypeId, Rc<dyn Any>)>> {
        match *self {}
    }

    pub(crate) fn settle(&self, _: usize) {
        match *self {}
    }

    pub(crate) fn settled(&self) -> usize {
        match *self {}
    }

    pub(crate) fn random(&self) -> u64 {
        match *self {}
    }
}
