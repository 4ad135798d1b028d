//! A whole report, to be read.

use expect_test::expect;

use super::*;
use crate::report::{document, markdown::markdown};

#[test]
fn a_report_in_markdown() {
    let mut directory = directory(won_and_lost());
    directory.timelines.clear();
    let expected = expect![[r"
        # Fixed and dynamic prefill/decode ratios

        - **On traffic that shifts (simulated), a ratio that follows the traffic beats the best fixed ratio, which nobody knows in advance, in 1 of 2 cells, loses in 1 and is level in 0: +8.3 points of all requests served in time in the mean, +20.3 at best.**
        - **It wins with phases as short as 5 min (where a role change keeps a worker away for up to 30 s), and with role changes that keep a worker away for as long as 30 s (where phases last 5 min or more).**
        - **Over all 2 comparisons that were run, with and without the router's measures, it loses in 1 beyond chance; the largest loss against the best fixed ratio is 3.7 points (calibrated, phases of 2 min, load 0.8, 90 s away).**

        All of it is simulated, in virtual time. A request is in time if its first token comes within 2 s and its tokens are 25 ms apart or less in the mean. Every arm saw the same requests, with 3 seeds; ± is half the 95 % confidence interval of the differences seed by seed, by Student's t. One point is a hundredth of all requests.

        ## The controller and its rivals

        With all of the router's measures (requests wait in the router, for decode too, and those that can still be in time go first; a worker that is to move hands its answers over). Ahead and behind are beyond chance: about one cell in twenty would be so by chance alone.

        The controller's share of requests in time, less its rival's, in points

        | against | cells | ahead | even | behind | mean | worst | worst where |
        | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
        | the best fixed split of each cell | 2 | 1 | 0 | 1 | +8.3 | -3.7 | calibrated, phases of 2 min, load 0.8, 90 s away |
        | 2P2D throughout | 2 | 1 | 0 | 1 | +8.3 | -3.7 | calibrated, phases of 2 min, load 0.8, 90 s away |
        | 3P1D throughout | 2 | 2 | 0 | 0 | +28.3 | +16.3 | calibrated, phases of 2 min, load 0.8, 90 s away |
        | thresholds | 2 | 2 | 0 | 0 | +11.8 | +6.3 | calibrated, phases of 2 min, load 0.8, 90 s away |
        | the oracle, which knows what comes | 2 | 0 | 0 | 2 | -6.7 | -8.7 | calibrated, phases of 2 min, load 0.8, 90 s away |

        ## One cell from nearby

        calibrated, phases of 5 min, load 0.8, 30 s away; the router's measures: fresh-first, waiting for decode and migration. Times are p50 / p90 / p99, means over the seeds

        | arm | in time | in steady windows | around changes | good req/s | TTFT, s | TTFT of late requests, s | ITL, ms | moves | worker s away | failed |
        | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
        | 2P2D | 0.710 | 0.710 | – | 7.00 | 0.10 / 0.90 / 4.00 | 2.50 / 5.00 / 9.00 | 8.00 / 12.0 / 30.0 | 4.0 | 120 | 0.0 |
        | 3P1D | 0.510 | 0.510 | – | 5.00 | 0.10 / 0.90 / 4.00 | 2.50 / 5.00 / 9.00 | 8.00 / 12.0 / 30.0 | 4.0 | 120 | 0.0 |
        | threshold | 0.740 | 0.740 | – | 7.50 | 0.10 / 0.90 / 4.00 | 2.50 / 5.00 / 9.00 | 8.00 / 12.0 / 30.0 | 4.0 | 120 | 0.0 |
        | controller | 0.913 | 0.913 | – | 9.00 | 0.10 / 0.90 / 4.00 | 2.50 / 5.00 / 9.00 | 8.00 / 12.0 / 30.0 | 4.0 | 120 | 0.0 |
        | oracle | 0.960 | 0.960 | – | 9.50 | 0.10 / 0.90 / 4.00 | 2.50 / 5.00 / 9.00 | 8.00 / 12.0 / 30.0 | 4.0 | 120 | 0.0 |

        ## Every cell

        The share of requests in time by arm; the best of those that don't know what comes stands out. The differences are the controller's, in points; ▲ and ▼ are beyond chance.

        Part shifting, engine calibrated, the router's measures: fresh-first, waiting for decode and migration

        | traffic, load, away | 2P2D | 3P1D | threshold | controller | oracle | over best fixed | over threshold | regret | moves |
        | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
        | phases of 5 min, 0.8, 30 s | 0.710 | 0.510 | 0.740 | **0.913** | 0.960 | ▲ +20.3 ±1.4 | ▲ +17.3 ±5.2 | +4.7 ±1.4 | 4.0 |
        | phases of 2 min, 0.8, 90 s | **0.710** | 0.510 | 0.610 | 0.673 | 0.760 | ▼ -3.7 ±1.4 | ▲ +6.3 ±3.8 | +8.7 ±3.8 | 4.0 |
    "]];
    expected.assert_eq(&markdown(&document(&directory, None)));
}
