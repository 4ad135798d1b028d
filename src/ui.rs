//! The page at `/ui`: the fleet at a glance, drawn from the events of `/ui/events`.
//!
//! One document in the binary, without a build step and without the network: its parts are joined when the router is
//! compiled, so that each is about one thing and a browser still asks once. The parts of the script share one scope;
//! their order matters only where a constant is made from an earlier one.

use axum::Router;
use axum::response::{Html, IntoResponse, Redirect};
use axum::routing::get;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};

const PAGE: &str = concat!(
    include_str!("ui/head.html"),
    "<style>\n",
    include_str!("ui/style/tokens.css"),
    include_str!("ui/style/page.css"),
    include_str!("ui/style/strip.css"),
    include_str!("ui/style/charts.css"),
    include_str!("ui/style/cards.css"),
    include_str!("ui/style/journal.css"),
    "</style>\n",
    include_str!("ui/body.html"),
    "<script>\n\"use strict\";\n",
    include_str!("ui/script/dom.js"),
    include_str!("ui/script/format.js"),
    include_str!("ui/script/feed.js"),
    include_str!("ui/script/model.js"),
    include_str!("ui/script/connection.js"),
    include_str!("ui/script/strip.js"),
    include_str!("ui/script/moves.js"),
    include_str!("ui/script/plot.js"),
    include_str!("ui/script/charts.js"),
    include_str!("ui/script/card.js"),
    include_str!("ui/script/details.js"),
    include_str!("ui/script/workers.js"),
    include_str!("ui/script/journal.js"),
    include_str!("ui/script/main.js"),
    "</script>\n</body>\n</html>\n",
);

/// Script and style are inside the page, which holds no text from outside, so inline is all that runs; it can speak
/// to this router only, and no other site can frame it. The one image is the icon in the page's head.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                      connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub fn routes() -> Router {
    Router::new()
        .route("/", get(async || Redirect::temporary("/ui")))
        .route("/ui", get(page))
}

async fn page() -> impl IntoResponse {
    let headers = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // A new version of the router brings a new page.
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, Html(PAGE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use http::header::{CONTENT_TYPE, LOCATION};
    use http::{Request, Response, StatusCode};
    use std::fs;
    use std::path::Path;
    use tower::ServiceExt as _;

    async fn get(path: &str) -> Response<Body> {
        let request = Request::get(path).body(Body::empty()).unwrap();
        routes().oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn the_root_leads_to_the_page() {
        let answer = get("/").await;
        assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
        let page = get(answer.headers()[LOCATION].to_str().unwrap()).await;
        assert_eq!(page.status(), StatusCode::OK);
        assert_eq!(page.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(page.headers()[CONTENT_SECURITY_POLICY], POLICY);
    }

    #[test]
    fn every_part_of_the_page_is_in_it() {
        for folder in ["style", "script"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("src/ui")
                .join(folder);
            for part in fs::read_dir(folder).unwrap() {
                let part = part.unwrap().path();
                let text = fs::read_to_string(&part).unwrap();
                assert!(PAGE.contains(&text), "{}", part.display());
            }
        }
    }

    #[test]
    fn the_page_loads_nothing_and_writes_no_markup() {
        for forbidden in [
            "http://",
            "https://",
            "src=",
            "rel=\"stylesheet\"",
            "@import",
            "innerHTML",
            "eval(",
        ] {
            assert!(!PAGE.contains(forbidden), "{forbidden}");
        }
    }
}
