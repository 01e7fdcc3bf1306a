//! Types without values that replace the simulated network when the feature `simulation` is off. The compiler
//! removes the enum variants that hold them, and all code that handles those.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Shutdown, SocketAddr};

use mio::event::Source;
use mio::{Interest, Registry, Token};
use twistor_deferred::Deferred;
use twistor_reactor::{Handle, SourceWaker};

use crate::Address;

/// No reactor has a simulated network.
pub(crate) enum Network {}

impl Network {
    #[inline]
    pub(crate) fn of(_: &Handle) -> Option<Network> {
        None
    }

    pub(crate) fn connect(&self, _: &Handle, _: Address, _: Option<IpAddr>) -> io::Result<BoxedSocket> {
        match *self {}
    }

    pub(crate) fn listen(
        &self,
        _: &Handle,
        _: &Address,
        _: u32,
        _: bool,
    ) -> io::Result<(SimulatedListener, Address)> {
        match *self {}
    }

    pub(crate) fn open_datagrams(
        &self,
        _: &Handle,
        _: SocketAddr,
        _: Option<SocketAddr>,
    ) -> io::Result<SimulatedDatagrams> {
        match *self {}
    }

    pub(crate) fn resolve(&self, _: &Handle, _: &str, _: u16) -> Deferred<Vec<SocketAddr>> {
        match *self {}
    }
}

pub(crate) enum SimulatedSocket {}

pub(crate) type BoxedSocket = SimulatedSocket;

impl SimulatedSocket {
    pub(crate) fn watch(&self, _: SourceWaker) {
        match *self {}
    }

    pub(crate) fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn write_vectored(&mut self, _: &[IoSlice<'_>]) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn shutdown(&self, _: Shutdown) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        match *self {}
    }

    pub(crate) fn has_data(&self) -> bool {
        match *self {}
    }

    pub(crate) fn reset_on_close(&self) {
        match *self {}
    }

    pub(crate) fn check_connected(&self) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn peer(&self) -> Address {
        match *self {}
    }

    pub(crate) fn local_addr(&self) -> io::Result<Address> {
        match *self {}
    }
}

pub(crate) enum SimulatedListener {}

impl SimulatedListener {
    pub(crate) fn accept(&self) -> io::Result<(BoxedSocket, Address)> {
        match *self {}
    }

    pub(crate) fn watch(&self, _: SourceWaker) {
        match *self {}
    }
}

pub(crate) enum SimulatedDatagrams {}

impl SimulatedDatagrams {
    pub(crate) fn watch(&self, _: SourceWaker) {
        match *self {}
    }

    pub(crate) fn receive(&self, _: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match *self {}
    }

    pub(crate) fn send(&self, _: &[u8], _: Option<SocketAddr>) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        match *self {}
    }
}

macro_rules! source {
    ($type:ident) => {
        impl Source for $type {
            fn register(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
                match *self {}
            }

            fn reregister(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
                match *self {}
            }

            fn deregister(&mut self, _: &Registry) -> io::Result<()> {
                match *self {}
            }
        }
    };
}

source!(SimulatedSocket);
source!(SimulatedDatagrams);
