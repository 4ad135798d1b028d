//! The metrics that there are, and the page that tells of them.

use adaptive_router::telemetry::Metrics;
use expect_test::expect_file;

#[test]
fn the_page_on_metrics_is_what_the_code_says() {
    expect_file!["../docs/metrics.md"].assert_eq(&Metrics::default().documentation());
}
