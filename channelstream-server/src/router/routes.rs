//! The one table of routes: which method and path lead to which call, and who may make it.

use crate::suggest;

/// What can be asked of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Connect,
    Subscribe,
    Unsubscribe,
    UserState,
    Publish,
    Edit,
    Delete,
    Configure,
    DeleteChannels,
    Info,
    Disconnect,
    Listen,
    Socket,
    Tutorial,
    Admin,
    AdminSocket,
    Figures,
    Debug,
    Stats,
    SignIn,
    SignOut,
    Explorer,
    OldDocument,
    Document,
    StaticFile,
}

/// Who may make a call. What is refused differs, as contract §3 and §10 have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody, as far as the call itself does not look closer.
    Open,
    /// Backends, by signature; in the tutorial and for admins, what stands in for one. Else 403.
    Backend,
    /// Backends and who is signed in. Else to the sign-in page.
    Admin,
    /// The same, with a 403.
    Documents,
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Route {
    /// None: all of them. GET stands for HEAD as well.
    methods: Option<&'static [&'static str]>,
    /// What ends with `{file}` is the beginning of paths.
    pub(crate) path: &'static str,
    pub(crate) call: Call,
    pub(crate) access: Access,
}

const fn route(
    methods: &'static [&'static str],
    path: &'static str,
    call: Call,
    access: Access,
) -> Route {
    Route { methods: Some(methods), path, call, access }
}

const fn any_method(path: &'static str, call: Call, access: Access) -> Route {
    Route { methods: None, path, call, access }
}

/// The methods that any route names.
const METHODS: [&str; 4] = ["GET", "POST", "PATCH", "DELETE"];

pub(crate) static ROUTES: [Route; 26] = [
    route(&["POST"], "/connect", Call::Connect, Access::Backend),
    route(&["POST"], "/subscribe", Call::Subscribe, Access::Backend),
    route(&["POST"], "/unsubscribe", Call::Unsubscribe, Access::Backend),
    route(&["POST"], "/user_state", Call::UserState, Access::Backend),
    route(&["POST"], "/message", Call::Publish, Access::Backend),
    route(&["PATCH"], "/message", Call::Edit, Access::Backend),
    route(&["DELETE"], "/message", Call::Delete, Access::Backend),
    route(&["POST"], "/channel_config", Call::Configure, Access::Backend),
    route(&["DELETE"], "/channels", Call::DeleteChannels, Access::Backend),
    any_method("/info", Call::Info, Access::Backend),
    any_method("/disconnect", Call::Disconnect, Access::Open),
    route(&["GET"], "/listen", Call::Listen, Access::Open),
    any_method("/ws", Call::Socket, Access::Open),
    route(&["GET"], "/", Call::Tutorial, Access::Open),
    route(&["GET"], "/admin", Call::Admin, Access::Admin),
    route(&["GET"], "/admin/ws", Call::AdminSocket, Access::Open),
    route(&["GET", "POST"], "/admin/admin.json", Call::Figures, Access::Admin),
    route(&["GET"], "/admin/debug", Call::Debug, Access::Admin),
    route(&["GET"], "/admin/stats.json", Call::Stats, Access::Admin),
    route(&["GET", "POST"], "/admin/sign_in", Call::SignIn, Access::Open),
    any_method("/admin/sign_out", Call::SignOut, Access::Open),
    route(&["GET"], "/api-explorer", Call::Explorer, Access::Admin),
    route(&["GET"], "/openapi.json", Call::OldDocument, Access::Documents),
    route(&["GET"], "/openapi-3.1.json", Call::Document, Access::Documents),
    route(&["GET"], "/static/admin/{file}", Call::StaticFile, Access::Open),
    route(&["GET"], "/static/channelstream/{file}", Call::StaticFile, Access::Open),
];

impl Route {
    fn is_for(&self, method: &str, path: &str) -> bool {
        // A HEAD is a GET whose body is left out at the end.
        let method = if method == "HEAD" { "GET" } else { method };
        let leads_there = match self.path.strip_suffix("{file}") {
            Some(beginning) => path.starts_with(beginning),
            None => path == self.path,
        };
        leads_there && self.methods.is_none_or(|methods| methods.contains(&method))
    }

    /// The methods by which it is described: of those that are all alike, these.
    pub(crate) fn described_methods(&self) -> &'static [&'static str] {
        self.methods.unwrap_or(match self.call {
            Call::Disconnect => &["GET", "POST"],
            Call::Info => &["POST"],
            _ => &["GET"],
        })
    }
}

/// Where a request leads.
pub(crate) fn find(method: &str, path: &str) -> Option<&'static Route> {
    ROUTES.iter().find(|route| route.is_for(method, path))
}

/// What a request is told that leads nowhere.
pub(crate) fn missing(method: &str, path: &str) -> String {
    let methods: Vec<_> = METHODS.into_iter().filter(|known| find(known, path).is_some()).collect();
    if !methods.is_empty() {
        return format!("this path takes {}, not {method}", methods.join(", "));
    }
    match nearest(path) {
        Some(nearest) => format!("there is nothing at this path; did you mean {nearest}?"),
        None => "there is nothing at this path".to_owned(),
    }
}

/// The paths that need rights of a backend.
pub(crate) fn is_backend(path: &str) -> bool {
    ROUTES.iter().any(|route| route.access == Access::Backend && route.path == path)
}

/// The path that is meant most likely by one that leads nowhere, if one is near.
pub(crate) fn nearest(path: &str) -> Option<&'static str> {
    /// Longer ones are not worth the look.
    const LONGEST: usize = 40;
    if path.len() > LONGEST {
        return None;
    }
    // What is for people and what lies deeper is not what programs misspell.
    let paths = ROUTES.iter().map(|route| route.path).filter(|path| {
        path.len() > 1 && path[1..].bytes().all(|byte| byte != b'/') && !path.ends_with(".json")
    });
    suggest::nearest(path, paths).filter(|best| *best != path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_and_paths_lead_to_calls() {
        let call = |method, path| find(method, path).map(|route| route.call);
        for (method, path, wanted) in [
            ("POST", "/message", Call::Publish),
            ("PATCH", "/message", Call::Edit),
            ("PUT", "/info", Call::Info),
            ("HEAD", "/admin", Call::Admin),
            ("GET", "/static/admin/style.css", Call::StaticFile),
        ] {
            assert_eq!(call(method, path), Some(wanted), "{method} {path}");
        }
        for (method, path) in
            [("GET", "/message"), ("POST", "/admin"), ("GET", "/static/"), ("GET", "/message/")]
        {
            assert_eq!(call(method, path), None, "{method} {path}");
        }
    }

    #[test]
    fn what_leads_nowhere_is_told_what_there_is() {
        for (method, path, wanted) in [
            ("GET", "/message", "this path takes POST, PATCH, DELETE, not GET"),
            ("POST", "/", "this path takes GET, not POST"),
            ("POST", "/conect", "there is nothing at this path; did you mean /connect?"),
            ("GET", "/a/b", "there is nothing at this path"),
        ] {
            assert_eq!(missing(method, path), wanted, "{method} {path}");
        }
    }

    #[test]
    fn paths_that_may_have_been_meant() {
        for (path, wanted) in [
            ("/messages", Some("/message")),
            ("/conect", Some("/connect")),
            ("/wss", Some("/ws")),
            ("/message", None),
            ("/something else", None),
        ] {
            assert_eq!(nearest(path), wanted, "{path}");
        }
        assert_eq!(nearest(&format!("/message{}", "e".repeat(100))), None);
    }
}
