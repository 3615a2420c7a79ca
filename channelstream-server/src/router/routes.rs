//! The one table of routes: method, path, handler, and who may call it.

use std::pin::Pin;
use std::sync::Arc;

use crate::admin;
use crate::api::{self, health, openapi};
use crate::app::App;
use crate::http::answer::{Answer, JSON};
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::pages::{self, tutorial};
use crate::suggest;
use crate::transport::{event_stream, long_poll, websocket};

/// The outcome of a handler.
pub(crate) type Outcome = Result<Answer, Problem>;

/// A handler that is still at work.
type Answering<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// What serves the requests of a route.
#[derive(Clone, Copy)]
pub(crate) enum Handler {
    Now(fn(&Arc<App>, &mut Request) -> Outcome),
    Later(for<'a> fn(&'a Arc<App>, Request) -> Answering<'a>),
}

/// Who may call a route. The answers of refusals differ, as contract §3 and §10 define them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody. The handshake is all that is checked, even ahead of the scheme.
    Handshake,
    /// Everybody, even ahead of the scheme: a balancer inside the network asks without TLS.
    Probe,
    /// Everybody. The handler itself may check more.
    Open,
    /// Backends, by signature. Others get 403.
    Backend,
    /// Backends and admins. Others are redirected to the sign-in page.
    Admin,
    /// Backends and admins. Others get 403.
    Documents,
}

/// Who calls an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Any client, at the path of the endpoint itself.
    Client,
    /// The page of the tutorial.
    Tutorial,
    /// The admin page.
    AdminPage,
}

/// The prefixes below which a page calls endpoints without a signature.
const PAGES: [(&str, Caller); 2] =
    [("/tutorial", Caller::Tutorial), ("/admin/api", Caller::AdminPage)];

/// One row of the table.
pub(crate) struct Route {
    methods: Methods,
    /// A path that ends with `{file}` matches all paths with that beginning.
    pub(crate) path: &'static str,
    handler: Handler,
    pub(crate) access: Access,
    /// Whether the drain waits until a backend's request is answered.
    is_awaited: bool,
    in_tutorial: bool,
    in_admin_page: bool,
    /// Whether the handler acts on the body before it is whole, so that no signature can be over it.
    pub(crate) takes_stream: bool,
}

#[derive(Clone, Copy)]
enum Methods {
    /// GET stands for HEAD as well.
    These(&'static [&'static str]),
    /// Every method. The API description lists only these.
    Any(&'static [&'static str]),
}

use Access::{Admin, Backend, Documents, Handshake, Open, Probe};
use Handler::Now;
use Methods::{Any, These};

const GET: Methods = These(&["GET"]);
const POST: Methods = These(&["POST"]);
const PATCH: Methods = These(&["PATCH"]);
const DELETE: Methods = These(&["DELETE"]);
const GET_OR_POST: Methods = These(&["GET", "POST"]);

/// The path of the metrics, also where they have an address of their own.
pub(crate) const METRICS: &str = "/metrics";

/// The methods that any route names.
const METHODS: [&str; 4] = ["GET", "POST", "PATCH", "DELETE"];

/// A handler that is an async function.
macro_rules! later {
    ($handler:path) => {
        Handler::Later(|app, request| Box::pin($handler(app, request)))
    };
}

pub(crate) static ROUTES: [Route; 38] = [
    route(POST, "/connect", later!(api::connect), Backend),
    route(POST, "/subscribe", later!(api::subscribe), Backend),
    route(POST, "/unsubscribe", later!(api::unsubscribe), Backend),
    route(POST, "/user_state", later!(api::user_state), Backend),
    route(POST, "/message", later!(api::publish), Backend),
    route(POST, "/message/stream", later!(api::pipe::stream), Backend)
        .not_in_tutorial()
        .of_stream(),
    route(PATCH, "/message", later!(api::change), Backend),
    route(DELETE, "/message", later!(api::delete), Backend),
    route(POST, "/channel_config", later!(api::configure), Backend),
    route(DELETE, "/channels", later!(api::delete_channels), Backend).not_in_tutorial(),
    route(POST, "/disconnect_user", later!(api::disconnect_user), Backend).not_in_tutorial(),
    route(POST, "/list_channels", later!(api::list_channels), Backend).not_in_tutorial(),
    route(POST, "/list_users", later!(api::list_users), Backend).not_in_tutorial(),
    route(POST, "/history", later!(api::history), Backend).not_in_tutorial(),
    route(Any(&["POST"]), "/info", later!(api::info), Backend),
    route(Any(&["GET", "POST"]), "/disconnect", later!(api::disconnect), Open).in_admin_page(),
    route(POST, "/reload", Handler::Later(|app, _| Box::pin(api::reload(app))), Backend)
        .not_in_tutorial(),
    route(POST, "/cancel", later!(api::cancel), Open),
    route(GET, "/listen", later!(long_poll::listen), Open).not_awaited(),
    route(GET, "/sse", later!(event_stream::sse), Open).not_awaited(),
    route(GET, "/stream", later!(event_stream::ndjson), Open).not_awaited(),
    route(Any(&["GET"]), "/ws", Now(websocket::open), Handshake),
    route(GET, "/healthz", Handler::Later(|app, _| Box::pin(health::alive(app))), Probe),
    route(GET, "/readyz", Handler::Later(|app, _| Box::pin(health::ready(app))), Probe),
    route(GET, METRICS, later!(api::metrics::here), Probe),
    route(GET, "/", Now(|app, request| tutorial::page(app, request)), Open),
    route(GET, "/admin", Now(|_, _| Ok(admin::page())), Admin),
    route(GET, "/admin/ws", Now(admin::open_feed), Open),
    route(
        GET_OR_POST,
        "/admin/admin.json",
        Handler::Later(|app, _| Box::pin(admin::admin_json(app))),
        Admin,
    ),
    route(GET, "/admin/debug", Handler::Later(|app, _| Box::pin(admin::debug(app))), Admin),
    route(GET, "/admin/stats.json", Handler::Later(|app, _| Box::pin(admin::stats(app))), Admin),
    route(GET_OR_POST, "/admin/sign_in", later!(admin::sign_in), Open),
    route(
        Any(&["GET"]),
        "/admin/sign_out",
        Now(|app, request| admin::sign_out(app, request)),
        Open,
    ),
    route(GET, "/api-explorer", Now(|_, _| Ok(admin::explorer())), Admin),
    route(GET, "/openapi.json", Now(|_, _| json(openapi::legacy_document())), Documents),
    route(GET, "/openapi-3.1.json", Now(|_, _| json(openapi::document())), Documents),
    route(GET, "/static/admin/{file}", Now(static_file), Open),
    route(GET, "/static/channelstream/{file}", Now(static_file), Open),
];

/// Lets time pass, on a server with a test clock. It is in no table: other servers do not have it, and answer
/// as to any path that they do not know.
static ADVANCE: Route = route(POST, "/test/advance", later!(api::advance), Backend);

const fn route(methods: Methods, path: &'static str, handler: Handler, access: Access) -> Route {
    let is_backend = matches!(access, Backend);
    Route {
        methods,
        path,
        handler,
        access,
        is_awaited: true,
        in_tutorial: is_backend,
        in_admin_page: is_backend,
        takes_stream: false,
    }
}

fn json(document: &'static str) -> Outcome {
    Ok(Answer::new(JSON, document))
}

fn static_file(_: &Arc<App>, request: &mut Request) -> Outcome {
    pages::static_file(request.path(), &request.head.headers)
}

impl Route {
    /// The admin page may call this endpoint too.
    const fn in_admin_page(mut self) -> Self {
        self.in_admin_page = true;
        self
    }

    /// The tutorial may not call this endpoint: its users have no need to delete channels of others.
    const fn not_in_tutorial(mut self) -> Self {
        self.in_tutorial = false;
        self
    }

    /// The handler acts on the body while it arrives.
    const fn of_stream(mut self) -> Self {
        self.takes_stream = true;
        self
    }

    /// The drain does not wait for its answers.
    const fn not_awaited(mut self) -> Self {
        self.is_awaited = false;
        self
    }

    fn matches(&self, method: &str, path: &str) -> bool {
        // A HEAD is a GET whose body is left out at the end.
        let method = if method == "HEAD" { "GET" } else { method };
        self.has_path(path)
            && match self.methods {
                These(methods) => methods.contains(&method),
                Any(_) => true,
            }
    }

    fn has_path(&self, path: &str) -> bool {
        let is_below = |folder: &str| path.starts_with(folder);
        path == self.path || self.path.strip_suffix("{file}").is_some_and(is_below)
    }

    fn is_for(&self, caller: Caller) -> bool {
        match caller {
            Caller::Client => true,
            Caller::Tutorial => self.in_tutorial,
            Caller::AdminPage => self.in_admin_page,
        }
    }

    /// The methods in the API description.
    pub(crate) fn described_methods(&self) -> &'static [&'static str] {
        match self.methods {
            These(methods) | Any(methods) => methods,
        }
    }

    /// Serves a request. The drain waits for requests of backends.
    pub(crate) async fn serve(&self, app: &Arc<App>, mut request: Request) -> Outcome {
        let is_awaited = self.is_awaited && request.permissions.backend;
        let _awaited = is_awaited.then(|| Arc::clone(&app.active_requests));
        match self.handler {
            Handler::Now(handler) => handler(app, &mut request),
            Handler::Later(handler) => handler(app, request).await,
        }
    }
}

/// The route of a method and a path.
pub(crate) fn find(method: &str, path: &str) -> Option<&'static Route> {
    ROUTES.iter().find(|route| route.matches(method, path))
}

/// The route of a method and a path that only a server with a test clock has.
pub(crate) fn find_for_tests(method: &str, path: &str) -> Option<&'static Route> {
    Some(&ADVANCE).filter(|route| route.matches(method, path))
}

/// The path in the table of the endpoint at a path, whatever the method; `other` if there is none. So the
/// number of names is bounded.
pub(crate) fn endpoint(path: &str) -> &'static str {
    let (_, path) = split_caller(path);
    ROUTES.iter().find(|route| route.has_path(path)).map_or("other", |route| route.path)
}

/// Returns `true` if the path in the table is that of an endpoint for monitoring.
pub(crate) fn is_probe(endpoint: &str) -> bool {
    ROUTES.iter().any(|route| route.path == endpoint && route.access == Probe)
}

/// Splits a path into its caller and the path of the endpoint: `/tutorial/connect` is `/connect`,
/// called by the tutorial.
pub(crate) fn split_caller(path: &str) -> (Caller, &str) {
    let by_page = PAGES.into_iter().find_map(|(prefix, caller)| {
        let endpoint = path.strip_prefix(prefix)?;
        let is_endpoint = |route: &Route| route.path == endpoint && route.is_for(caller);
        ROUTES.iter().any(is_endpoint).then_some((caller, endpoint))
    });
    by_page.unwrap_or((Caller::Client, path))
}

/// Returns `true` if a path belongs to the admin area.
pub(crate) fn is_admin(path: &str) -> bool {
    path.strip_prefix("/admin").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns `true` if the cookie of a sign-in counts at a path.
pub(crate) fn accepts_cookie(path: &str) -> bool {
    let is_route = |route: &Route| matches!(route.access, Admin | Documents) && route.path == path;
    is_admin(path) || ROUTES.iter().any(is_route)
}

/// The message for a request that has no route.
pub(crate) fn missing(method: &str, path: &str) -> String {
    let methods: Vec<_> = METHODS.into_iter().filter(|known| find(known, path).is_some()).collect();
    if !methods.is_empty() {
        return format!("this path takes {}, not {method}", methods.join(", "));
    }
    match nearest(path) {
        Some(nearest) => format!("not found; did you mean {nearest}?"),
        None => "not found".to_owned(),
    }
}

/// The known path that a misspelled one most likely means.
fn nearest(path: &str) -> Option<&'static str> {
    /// Longer paths are not compared.
    const LONGEST: usize = 40;
    if path.len() > LONGEST {
        return None;
    }
    // Programs misspell neither pages for people nor deeper paths.
    let paths = ROUTES.iter().map(|route| route.path).filter(|path| {
        path.len() > 1 && path[1..].bytes().all(|byte| byte != b'/') && !path.ends_with(".json")
    });
    suggest::nearest(path, paths).filter(|best| *best != path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_and_paths_have_routes() {
        let route = |method, path| find(method, path).map(|route| route.path);
        for (method, path, expected) in [
            ("POST", "/message", "/message"),
            ("PATCH", "/message", "/message"),
            ("PUT", "/info", "/info"),
            ("HEAD", "/admin", "/admin"),
            ("GET", "/static/admin/style.css", "/static/admin/{file}"),
        ] {
            assert_eq!(route(method, path), Some(expected), "{method} {path}");
        }
        for (method, path) in
            [("GET", "/message"), ("POST", "/admin"), ("GET", "/static/"), ("GET", "/message/")]
        {
            assert_eq!(route(method, path), None, "{method} {path}");
        }
    }

    #[test]
    fn no_two_routes_match_the_same_request() {
        for method in METHODS {
            for route in &ROUTES {
                let matching = ROUTES.iter().filter(|other| other.matches(method, route.path));
                assert!(matching.count() <= 1, "{method} {}", route.path);
            }
        }
    }

    #[test]
    fn pages_call_endpoints_below_their_own_prefix() {
        for (path, caller, endpoint) in [
            ("/connect", Caller::Client, "/connect"),
            ("/tutorial/connect", Caller::Tutorial, "/connect"),
            ("/tutorial/channels", Caller::Client, "/tutorial/channels"),
            ("/tutorial/disconnect", Caller::Client, "/tutorial/disconnect"),
            ("/tutorial", Caller::Client, "/tutorial"),
            ("/admin/api/message", Caller::AdminPage, "/message"),
            ("/admin/api/channels", Caller::AdminPage, "/channels"),
            ("/admin/api/disconnect", Caller::AdminPage, "/disconnect"),
            ("/admin/api/reload", Caller::AdminPage, "/reload"),
            ("/tutorial/reload", Caller::Client, "/tutorial/reload"),
            ("/admin/api/listen", Caller::Client, "/admin/api/listen"),
            ("/admin/sign_in", Caller::Client, "/admin/sign_in"),
        ] {
            assert_eq!(split_caller(path), (caller, endpoint), "{path}");
        }
    }

    #[test]
    fn requests_are_counted_under_the_paths_of_the_table() {
        for (path, expected) in [
            ("/message", "/message"),
            ("/tutorial/connect", "/connect"),
            ("/static/admin/style.css", "/static/admin/{file}"),
            ("/message/", "other"),
            ("/wp-login.php", "other"),
            ("", "other"),
        ] {
            assert_eq!(endpoint(path), expected, "{path}");
        }
    }

    #[test]
    fn the_cookie_counts_for_admins_and_documents() {
        for path in ["/admin", "/admin/no/such", "/api-explorer", "/openapi.json"] {
            assert!(accepts_cookie(path), "{path}");
        }
        for path in ["/", "/administrator", "/connect", "/openapi"] {
            assert!(!accepts_cookie(path), "{path}");
        }
    }

    #[test]
    fn a_request_without_a_route_is_answered_with_what_there_is() {
        for (method, path, expected) in [
            ("GET", "/message", "this path takes POST, PATCH, DELETE, not GET"),
            ("POST", "/", "this path takes GET, not POST"),
            ("POST", "/conect", "not found; did you mean /connect?"),
            ("GET", "/health", "not found; did you mean /healthz?"),
            ("GET", "/a/b", "not found"),
        ] {
            assert_eq!(missing(method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn paths_that_may_have_been_meant() {
        for (path, expected) in [
            ("/messages", Some("/message")),
            ("/conect", Some("/connect")),
            ("/wss", Some("/ws")),
            ("/message", None),
            ("/something else", None),
        ] {
            assert_eq!(nearest(path), expected, "{path}");
        }
        assert_eq!(nearest(&format!("/message{}", "e".repeat(100))), None);
    }
}
