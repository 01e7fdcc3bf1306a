//! cargo run --manifest-path examples/embed_window/Cargo.toml
//!
//! A window that animates and fetches pages. Its event loop, winit's, cannot watch a descriptor, so the reactor has a
//! watcher: a thread that sends an event to the loop when a response arrives, while the loop sleeps until the next frame.
//!
//! A bar moves across the window, and each page that arrives adds a square. The program ends after the last page.

use std::cell::Cell;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use softbuffer::{Context, Surface};
use twistor::prelude::*;
use winit::application::ApplicationHandler;
use winit::event::WindowEvent;
use winit::event_loop::{ActiveEventLoop, ControlFlow, EventLoop, OwnedDisplayHandle};
use winit::window::{Window, WindowId};

const FRAME: Duration = Duration::from_millis(40);
const PAGES: u32 = 6;
const BACKGROUND: u32 = 0x20_2428;
const BAR: u32 = 0x4f_9dde;
const SQUARE: u32 = 0xe8_b04b;

/// Ends the sleep of the event loop. It is empty, because the reactor has the pending work.
struct Wake;

fn main() -> Result<(), Box<dyn Error>> {
    let server = serve()?;
    let events = EventLoop::<Wake>::with_user_event().build()?;
    let proxy = Mutex::new(events.create_proxy());
    let hook = move || {
        // After the end of the event loop, nothing has to be woken.
        if let Ok(proxy) = proxy.lock() {
            let _ = proxy.send_event(Wake);
        }
    };
    let reactor = Reactor::builder().host_hook(hook).watcher(true).build()?;
    let fetched = fetch(&reactor, server);
    let mut host = Host {
        context: Context::new(events.owned_display_handle())?,
        surface: None,
        reactor,
        fetched,
        begun: Instant::now(),
        frames: 0,
        wakes: 0,
        failure: None,
    };
    events.run_app(&mut host)?;
    println!("{} pages, {} frames, {} turns for the reactor", host.fetched.get(), host.frames, host.wakes);
    host.failure.map_or(Ok(()), Err)
}

/// Fetches one page after another, and counts them.
fn fetch(reactor: &Reactor, server: SocketAddr) -> Rc<Cell<u32>> {
    let fetched = Rc::new(Cell::new(0));
    let (handle, count) = (reactor.handle(), fetched.clone());
    let pages = reactor.spawn(async move {
        for number in 1..=PAGES {
            let asked = Instant::now();
            let page = get_page(&handle, format!("http://{server}/{number}")).await?;
            println!("page {number}: {} after {} ms", page.text(), asked.elapsed().as_millis());
            count.set(number);
        }
        Ok(())
    });
    pages.detach();
    fetched
}

struct Host {
    context: Context<OwnedDisplayHandle>,
    surface: Option<Surface<OwnedDisplayHandle, Rc<Window>>>,
    reactor: Reactor,
    fetched: Rc<Cell<u32>>,
    begun: Instant,
    frames: u32,
    wakes: u32,
    failure: Option<Box<dyn Error>>,
}

impl Host {
    /// Lets the reactor do everything that is ready.
    fn turn(&mut self) -> Result<(), Box<dyn Error>> {
        self.wakes += 1;
        // A share of a frame, so that the animation goes on whatever arrives.
        self.reactor.turns(FRAME / 4)?;
        Ok(())
    }

    fn next_frame(&self) -> Instant {
        self.begun + FRAME * self.frames
    }

    fn open(&mut self, events: &ActiveEventLoop) -> Result<(), Box<dyn Error>> {
        let window = Rc::new(events.create_window(Window::default_attributes().with_title("twistor"))?);
        self.surface = Some(Surface::new(&self.context, window)?);
        self.begun = Instant::now();
        Ok(())
    }

    fn draw(&mut self) -> Result<(), Box<dyn Error>> {
        let Some(surface) = &mut self.surface else { return Ok(()) };
        let size = surface.window().inner_size();
        let (Some(width), Some(height)) = (NonZeroU32::new(size.width), NonZeroU32::new(size.height)) else {
            return Ok(());
        };
        surface.resize(width, height)?;
        let mut pixels = surface.buffer_mut()?;
        let bar = self.frames * 8 % size.width;
        let squares = self.fetched.get();
        for (n, pixel) in (0..).zip(pixels.iter_mut()) {
            let (x, y) = (n % size.width, n / size.width);
            let in_square = (20..60).contains(&y) && x % 60 >= 20 && x / 60 < squares;
            *pixel = match x {
                _ if in_square => SQUARE,
                x if x.abs_diff(bar) < 10 => BAR,
                _ => BACKGROUND,
            };
        }
        pixels.present()?;
        Ok(())
    }

    /// Ends the program if there was an error.
    fn check(&mut self, events: &ActiveEventLoop, result: Result<(), Box<dyn Error>>) {
        if let Err(error) = result {
            self.failure = Some(error);
            events.exit();
        }
    }
}

impl ApplicationHandler<Wake> for Host {
    fn resumed(&mut self, events: &ActiveEventLoop) {
        let opened = self.open(events);
        self.check(events, opened);
        // The first turn starts the reactor.
        let turned = self.turn();
        self.check(events, turned);
    }

    fn user_event(&mut self, events: &ActiveEventLoop, _: Wake) {
        let turned = self.turn();
        self.check(events, turned);
    }

    fn window_event(&mut self, events: &ActiveEventLoop, _: WindowId, event: WindowEvent) {
        match event {
            WindowEvent::CloseRequested => events.exit(),
            WindowEvent::RedrawRequested => {
                let drawn = self.draw();
                self.check(events, drawn);
            }
            _ => {}
        }
    }

    /// Sleeps until the next frame, or until the reactor's next deadline if that is earlier.
    fn about_to_wait(&mut self, events: &ActiveEventLoop) {
        let now = Instant::now();
        if self.reactor.next_deadline().is_some_and(|deadline| deadline <= now) {
            let turned = self.turn();
            self.check(events, turned);
        }
        if self.next_frame() <= now {
            self.frames += 1;
            if let Some(surface) = &self.surface {
                surface.window().request_redraw();
            }
            // The end, with the last square drawn.
            if self.fetched.get() == PAGES {
                events.exit();
            }
        }
        let frame = self.next_frame();
        let deadline = self.reactor.next_deadline().map_or(frame, |deadline| deadline.min(frame));
        events.set_control_flow(ControlFlow::WaitUntil(deadline));
    }
}

/// Starts a server whose pages take their time.
fn serve() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            // A browser's second connection, or a scan, is not this program's affair.
            let _ = answer(connection);
        }
    });
    Ok(address)
}

fn answer(mut connection: TcpStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte)?;
        request.extend(byte);
    }
    std::thread::sleep(Duration::from_millis(150));
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n";
    write!(connection, "{head}hello")
}
