//! A whole report, to be read.

use expect_test::expect;

use super::*;
use crate::report::{document, markdown::markdown};

#[test]
fn a_report_in_markdown() {
    let mut directory = directory(won_and_lost());
    directory.timelines.clear();
    let expected = expect![[r#"
        # Fixed and dynamic prefill/decode ratios

        - **On traffic that shifts (simulated) a ratio that follows the traffic does not serve more requests in time than the best fixed one, which nobody knows in advance: it is ahead beyond chance in 1 of 2 cells, behind in 1, with no telling in 0 (+8.3 points in the mean of all, +20.3 at best).**
        - **The shortest phases with which it is ahead in any cell last 5 min (there with workers away for up to 30 s when they change their role), and the longest such absence with which it is ahead is 30 s (with phases of 5 min or more).**
        - **In 1 of all 2 cells that were run, whatever the traffic and the router's measures, is it behind beyond chance; the most that it loses to the best fixed split is 3.7 points (calibrated, phases of 2 min, load 0.8, 90 s away).**

        All of it is simulated, in virtual time. A request is in time if its first token comes within 2 s and its tokens are 25 ms apart or less in the mean. Every arm saw the same requests, with 3 seeds; ± is half the 95 % confidence interval of the differences seed by seed, by Student's t. One point is a hundredth of all requests.

        ## The controller and its rivals

        With all of the router's measures (requests wait in the router and those that can still be in time go first; a worker that is to move hands its answers over). Ahead and behind are beyond chance: about one cell in twenty would be so by chance alone.

        The controller's share of requests in time, less its rival's, in points

        | against | cells | ahead | even | behind | mean | worst | worst where |
        | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
        | the best fixed split of each cell | 2 | 1 | 0 | 1 | +8.3 | -3.7 | calibrated, phases of 2 min, load 0.8, 90 s away |
        | 2P2D throughout | 2 | 1 | 0 | 1 | +8.3 | -3.7 | calibrated, phases of 2 min, load 0.8, 90 s away |
        | 3P1D throughout | 2 | 2 | 0 | 0 | +28.3 | +16.3 | calibrated, phases of 2 min, load 0.8, 90 s away |
        | thresholds | 2 | 2 | 0 | 0 | +11.8 | +6.3 | calibrated, phases of 2 min, load 0.8, 90 s away |
        | the oracle, which knows what comes | 2 | 0 | 0 | 2 | -6.7 | -8.7 | calibrated, phases of 2 min, load 0.8, 90 s away |

        ## One cell from nearby

        calibrated, phases of 5 min, load 0.8, 30 s away; the router's measures: fresh-first and migration. Times in ms, p50 / p90 / p99, means over the seeds

        | arm | in time | in steady windows | around changes | good req/s | TTFT | TTFT of late ones | ITL | moves | worker s away | failed |
        | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
        | 2P2D | 0.710 | 0.710 | – | 7.00 | 100 / 900 / 4000 | 2500 / 5000 / 9000 | 8.0 / 12.0 / 30.0 | 4.0 | 120 | 0.0 |
        | 3P1D | 0.510 | 0.510 | – | 5.00 | 100 / 900 / 4000 | 2500 / 5000 / 9000 | 8.0 / 12.0 / 30.0 | 4.0 | 120 | 0.0 |
        | threshold | 0.740 | 0.740 | – | 7.50 | 100 / 900 / 4000 | 2500 / 5000 / 9000 | 8.0 / 12.0 / 30.0 | 4.0 | 120 | 0.0 |
        | controller | 0.913 | 0.913 | – | 9.00 | 100 / 900 / 4000 | 2500 / 5000 / 9000 | 8.0 / 12.0 / 30.0 | 4.0 | 120 | 0.0 |
        | oracle | 0.960 | 0.960 | – | 9.50 | 100 / 900 / 4000 | 2500 / 5000 / 9000 | 8.0 / 12.0 / 30.0 | 4.0 | 120 | 0.0 |

        ## Loads, phases and the cost of a change

        The share of requests in time, by how long a kind of request lasts and how long a worker is away when it changes its role. Dark lines are 95 % confidence intervals.

        Regret: how many points of attainment each plan stays behind the oracle, which knows what comes.

        ## Every cell

        The share of requests in time by arm; the best but for the oracle stands out. The differences are the controller's, in points; ▲ and ▼ are beyond chance.

        Part shifting, engine calibrated, the router's measures: fresh-first and migration

        | traffic, load, away | 2P2D | 3P1D | threshold | controller | oracle | over best fixed | over threshold | regret | moves |
        | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
        | phases of 5 min, 0.8, 30 s | 0.710 | 0.510 | 0.740 | **0.913** | 0.960 | ▲ +20.3 ±1.4 | ▲ +17.3 ±5.2 | +4.7 ±1.4 | 4.0 |
        | phases of 2 min, 0.8, 90 s | **0.710** | 0.510 | 0.610 | 0.673 | 0.760 | ▼ -3.7 ±1.4 | ▲ +6.3 ±3.8 | +8.7 ±3.8 | 4.0 |
    "#]];
    expected.assert_eq(&markdown(&document(&directory, None)));
}
