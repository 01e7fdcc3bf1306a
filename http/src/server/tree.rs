//! A resource that combines handlers and other resources.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use ::http::{Method, StatusCode, header};
use twistor_net::guarded_at;

use super::exchange::answer::{Answer, IntoAnswer};
use super::exchange::request::Request;
use super::exchange::response::Response;
use super::resource::{BodyMode, Resource};

type Handler = Box<dyn Fn(&mut Request<'_>) -> Answer>;
type Children = Box<dyn Fn(&str, &mut Request<'_>) -> Option<Rc<dyn Resource>>>;

struct Entry {
    method: Method,
    handler: Handler,
    mode: BodyMode,
}

/// A resource with handlers by method and children by name. Twisted: `Resource` with `render_GET` and
/// `putChild`.
///
/// A method without a handler is answered with 405 and the methods that have one, a method unknown to HTTP
/// with 501. `HEAD` without a handler uses that of `GET`. `OPTIONS` without a handler is answered with 204
/// and the methods that have one; `OPTIONS *` also lists those of the resources below.
///
/// # Examples
///
/// ```
/// use twistor::http::Method;
/// use twistor::http::server::Tree;
///
/// let site = Tree::new()
///     .get(|_| "Hello, world!")
///     .put_child("echo", Tree::new().post(|request| request.take_body()))
///     .put_child("note", Tree::new().get(|_| "read").on(Method::PUT, |_| "written"));
/// # drop(site);
/// ```
#[derive(Default)]
pub struct Tree {
    entries: Vec<Entry>,
    children: BTreeMap<String, Rc<dyn Resource>>,
    dynamic: Option<Children>,
    fallback: Option<Rc<dyn Resource>>,
}

impl Tree {
    /// Creates a resource without handlers or children: every path is answered with 404.
    pub fn new() -> Tree {
        Tree::default()
    }

    /// Sets the handler of `GET` (and `HEAD`).
    #[must_use]
    #[track_caller]
    pub fn get<A: IntoAnswer>(self, handler: impl Fn(&mut Request<'_>) -> A + 'static) -> Tree {
        self.on(Method::GET, handler)
    }

    /// Sets the handler of `POST`.
    #[must_use]
    #[track_caller]
    pub fn post<A: IntoAnswer>(self, handler: impl Fn(&mut Request<'_>) -> A + 'static) -> Tree {
        self.on(Method::POST, handler)
    }

    /// Sets the handler of a method.
    #[must_use]
    #[track_caller]
    pub fn on<A: IntoAnswer>(
        self,
        method: Method,
        handler: impl Fn(&mut Request<'_>) -> A + 'static,
    ) -> Tree {
        self.on_mode(method, BodyMode::Whole, handler)
    }

    /// Sets the handler of a method, and how it receives the body.
    #[must_use]
    #[track_caller]
    pub fn on_mode<A: IntoAnswer>(
        mut self,
        method: Method,
        mode: BodyMode,
        handler: impl Fn(&mut Request<'_>) -> A + 'static,
    ) -> Tree {
        self.entries.retain(|entry| entry.method != method);
        let place = Location::caller();
        let handler = Box::new(move |request: &mut Request<'_>| {
            guarded_at("the handler", place, || Ok(handler(request).into_answer()))
                .unwrap_or_else(Answer::Failed)
        });
        self.entries.push(Entry { method, handler, mode });
        self
    }

    /// Adds a resource below this one. `name` is one percent-decoded segment of the path. Twisted:
    /// `putChild`.
    #[must_use]
    pub fn put_child(mut self, name: impl Into<String>, child: impl Resource) -> Tree {
        self.children.insert(name.into(), Rc::new(child));
        self
    }

    /// Sets the function that creates children which were not added here. Twisted: `getChild`.
    #[must_use]
    pub fn children(
        mut self,
        children: impl Fn(&str, &mut Request<'_>) -> Option<Rc<dyn Resource>> + 'static,
    ) -> Tree {
        self.dynamic = Some(Box::new(children));
        self
    }

    /// Sets the resource for all paths below this one without a child, and for this one if it has no
    /// handlers. It receives the rest of the path.
    #[must_use]
    pub fn fallback(mut self, resource: impl Resource) -> Tree {
        self.fallback = Some(Rc::new(resource));
        self
    }

    fn entry(&self, method: &Method) -> Option<&Entry> {
        let entry = |method: &Method| self.entries.iter().find(|entry| entry.method == *method);
        entry(method).or_else(|| if *method == Method::HEAD { entry(&Method::GET) } else { None })
    }

    #[cold]
    fn refuse(&self, request: &mut Request<'_>) -> Answer {
        if request.path() == "*" {
            let methods = Resource::methods(self);
            if !methods.is_empty() || self.fallback.is_none() {
                return options(methods);
            }
        }
        if let Some(fallback) = self.fallback.as_ref().filter(|_| self.entries.is_empty()) {
            return fallback.render(request);
        }
        if self.entries.is_empty() {
            return StatusCode::NOT_FOUND.into_answer();
        }
        if request.method() == Method::OPTIONS {
            return options(self.own_methods());
        }
        if !is_known(request.method()) {
            return StatusCode::NOT_IMPLEMENTED.into_answer();
        }
        not_allowed(self.own_methods())
    }

    fn own_methods(&self) -> Vec<Method> {
        let mut methods = Vec::new();
        for entry in &self.entries {
            methods.push(entry.method.clone());
            if entry.method == Method::GET && self.entries.iter().all(|entry| entry.method != Method::HEAD) {
                methods.push(Method::HEAD);
            }
        }
        methods
    }
}

/// Answers `OPTIONS` with these methods.
pub(super) fn options(methods: Vec<Method>) -> Answer {
    Response::new(StatusCode::NO_CONTENT).header(header::ALLOW, allow(methods)).into_answer()
}

/// Answers a method other than these.
pub(super) fn not_allowed(methods: Vec<Method>) -> Answer {
    Response::from(StatusCode::METHOD_NOT_ALLOWED).header(header::ALLOW, allow(methods)).into_answer()
}

/// Joins the methods, each once, with `OPTIONS`, which every resource answers.
fn allow(mut methods: Vec<Method>) -> String {
    methods.push(Method::OPTIONS);
    let mut allow: Vec<&str> = Vec::new();
    for method in &methods {
        if !allow.contains(&method.as_str()) {
            allow.push(method.as_str());
        }
    }
    allow.join(", ")
}

/// Returns whether this is PATCH or a method of RFC 9110.
pub(super) fn is_known(method: &Method) -> bool {
    let known = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::CONNECT,
        Method::OPTIONS,
        Method::TRACE,
        Method::PATCH,
    ];
    known.contains(method)
}

impl Resource for Tree {
    fn render(&self, request: &mut Request<'_>) -> Answer {
        match self.entry(request.method()) {
            Some(entry) => (entry.handler)(request),
            None => self.refuse(request),
        }
    }

    fn get_child(&self, name: &str, request: &mut Request<'_>) -> Option<Rc<dyn Resource>> {
        if let Some(child) = self.children.get(name) {
            return Some(child.clone());
        }
        if let Some(child) = self.dynamic.as_ref().and_then(|children| children(name, request)) {
            return Some(child);
        }
        let itself = name.is_empty() && request.rest().is_empty() && !self.entries.is_empty();
        let fallback = self.fallback.clone().filter(|_| !itself)?;
        request.put_back();
        Some(fallback)
    }

    fn methods(&self) -> Vec<Method> {
        let below = self.children.values().chain(&self.fallback);
        let below = below.flat_map(|resource| Resource::methods(&**resource));
        self.own_methods().into_iter().chain(below).collect()
    }

    fn body_mode(&self, request: &Request<'_>) -> BodyMode {
        match (self.entry(request.method()), &self.fallback) {
            (Some(entry), _) => entry.mode,
            (None, Some(fallback)) if self.entries.is_empty() => fallback.body_mode(request),
            (None, _) => BodyMode::Whole,
        }
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods: Vec<&Method> = self.entries.iter().map(|entry| &entry.method).collect();
        let children: Vec<&String> = self.children.keys().collect();
        f.debug_struct("Tree")
            .field("methods", &methods)
            .field("children", &children)
            .field("dynamic", &self.dynamic.is_some())
            .field("fallback", &self.fallback.is_some())
            .finish()
    }
}
