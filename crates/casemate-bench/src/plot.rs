//! Inline plots: bars, scatter plots and lines on logarithmic axes.

use std::fmt::Write as _;

/// A bar: label, class for its color, value, and text next to it.
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) class: String,
    pub(crate) value: f64,
    pub(crate) text: String,
}

/// A point of a scatter: label, class, both coordinates.
pub(crate) struct Point {
    pub(crate) label: String,
    pub(crate) class: String,
    pub(crate) x: f64,
    pub(crate) y: f64,
}

/// A line: label, class, points.
pub(crate) struct Line {
    pub(crate) label: String,
    pub(crate) class: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Formatters for the values of both axes.
type Units = (fn(f64) -> String, fn(f64) -> String);

const WIDTH: f64 = 720.0;
/// Width of the longest bar in percent; the rest is for its figure.
const BAR_PERCENT: f64 = 80.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 64.0;
const BOTTOM: f64 = 44.0;
const TOP: f64 = 28.0;
const RIGHT: f64 = 32.0;

/// Escapes text for HTML and SVG.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Returns the powers of ten that enclose the values.
fn decades(values: impl Iterator<Item = f64>) -> (i32, i32) {
    let logs: Vec<f64> = values
        .filter(|value| *value > 0.0)
        .map(f64::log10)
        .collect();
    let low = logs.iter().copied().fold(f64::INFINITY, f64::min);
    let high = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if logs.is_empty() {
        return (0, 1);
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "logarithms of measurements are small"
    )]
    let (low, high) = (low.floor() as i32, high.ceil() as i32);
    (low, high.max(low + 1))
}

/// Returns the position of a value between two powers of ten, from 0 to 1.
fn share(value: f64, (low, high): (i32, i32)) -> f64 {
    let (low, high) = (f64::from(low), f64::from(high));
    ((value.max(1e-12).log10() - low) / (high - low)).clamp(0.0, 1.0)
}

fn open(title: &str, width: f64, height: f64) -> String {
    format!(
        "<svg viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{}\">\n",
        escape(title)
    )
}

/// Renders horizontal bars on a logarithmic axis. They are HTML boxes, not SVG, so that they fit on
/// a phone.
pub(crate) fn bars(title: &str, unit: fn(f64) -> String, bars: &[Bar]) -> String {
    let range = decades(bars.iter().map(|bar| bar.value));
    let percent = |value: f64| BAR_PERCENT * share(value, range);
    let step = BAR_PERCENT / f64::from(range.1 - range.0);
    let mut out = format!(
        "<div class=\"bars\" role=\"img\" aria-label=\"{}\" style=\"--step:{step:.3}%\">\n",
        escape(title)
    );
    for bar in bars {
        _ = writeln!(
            out,
            "<div><span>{}</span><span class=\"track\"><i class=\"{}\" style=\"width:{:.1}%\"></i><b>{}</b></span></div>",
            escape(&bar.label),
            escape(&bar.class),
            percent(bar.value).max(0.6),
            escape(&bar.text)
        );
    }
    out.push_str("<div class=\"ticks\"><span></span><span class=\"track\">");
    for power in range.0..=range.1 {
        let value = 10f64.powi(power);
        _ = write!(
            out,
            "<s style=\"left:{:.1}%\">{}</s>",
            percent(value),
            unit(value)
        );
    }
    out + "</span></div>\n</div>\n"
}

/// Writes the grid of a plot with two logarithmic axes.
fn axes(
    out: &mut String,
    (x_range, y_range): ((i32, i32), (i32, i32)),
    (x_unit, y_unit): Units,
    (x_name, y_name): (&str, &str),
) {
    for power in x_range.0..=x_range.1 {
        let x = place_x(10f64.powi(power), x_range);
        _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP:.0}\" y2=\"{:.0}\"/><text class=\"tick\" x=\"{x:.1}\" y=\"{:.0}\">{}</text>",
            HEIGHT - BOTTOM,
            HEIGHT - BOTTOM + 15.0,
            x_unit(10f64.powi(power))
        );
    }
    for power in y_range.0..=y_range.1 {
        let y = place_y(10f64.powi(power), y_range);
        _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{LEFT:.0}\" x2=\"{WIDTH:.0}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text class=\"label\" x=\"{:.0}\" y=\"{:.1}\">{}</text>",
            LEFT - 8.0,
            y + 4.0,
            y_unit(10f64.powi(power))
        );
    }
    _ = writeln!(
        out,
        "<text class=\"axis\" x=\"{:.0}\" y=\"{:.0}\">{}</text><text class=\"axis start\" x=\"4\" y=\"11\">{}</text>",
        f64::midpoint(LEFT, WIDTH),
        HEIGHT - 8.0,
        escape(x_name),
        escape(y_name)
    );
}

fn place_x(value: f64, range: (i32, i32)) -> f64 {
    LEFT + (WIDTH - LEFT - RIGHT) * share(value, range)
}

fn place_y(value: f64, range: (i32, i32)) -> f64 {
    HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * share(value, range)
}

/// Renders labeled points on two logarithmic axes.
pub(crate) fn scatter(title: &str, units: Units, names: (&str, &str), points: &[Point]) -> String {
    let x_range = decades(points.iter().map(|point| point.x));
    let y_range = decades(points.iter().map(|point| point.y));
    let mut out = open(title, WIDTH, HEIGHT);
    axes(&mut out, (x_range, y_range), units, names);
    let places: Vec<_> = points
        .iter()
        .map(|point| (place_x(point.x, x_range), place_y(point.y, y_range)))
        .collect();
    let mut taken: Vec<Area> = places.iter().map(|at| Area::around(*at)).collect();
    for (point, at) in points.iter().zip(&places) {
        let text = format!(
            "{}: {}, {}",
            point.label,
            units.0(point.x),
            units.1(point.y)
        );
        _ = writeln!(
            out,
            "<circle class=\"{}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"5\"><title>{}</title></circle>",
            escape(&point.class),
            at.0,
            at.1,
            escape(&text)
        );
        // A label that would overlap a point or another label is shown only in the tooltip.
        let free = |place: &(Area, &str)| {
            place.0.is_inside() && !taken.iter().any(|other| other.meets(&place.0))
        };
        if let Some((area, anchor)) = Area::labels(&point.label, *at).into_iter().find(free) {
            let x = match anchor {
                "start" => area.left,
                "end" => area.right,
                _ => f64::midpoint(area.left, area.right),
            };
            _ = writeln!(
                out,
                "<text class=\"point {anchor}\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
                area.bottom - 3.0,
                escape(&point.label)
            );
            taken.push(area);
        }
    }
    out + "</svg>\n"
}

/// The area that a point or a label covers.
struct Area {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

impl Area {
    /// Returns the area of a point.
    fn around((x, y): (f64, f64)) -> Self {
        Self {
            left: x - 6.0,
            right: x + 6.0,
            top: y - 6.0,
            bottom: y + 6.0,
        }
    }

    /// Returns the possible areas of a point's label: beside, above and below the point, each with
    /// its anchor.
    fn labels(label: &str, (x, y): (f64, f64)) -> [(Self, &'static str); 4] {
        let (width, height) = (label.len() as f64 * 6.6, 13.0);
        let at = |left: f64, top: f64| Self {
            left,
            right: left + width,
            top,
            bottom: top + height,
        };
        let (middle, half) = (y - height / 2.0, x - width / 2.0);
        [
            (at(x + 8.0, middle), "start"),
            (at(x - 8.0 - width, middle), "end"),
            (at(half, y - 7.0 - height), "middle"),
            (at(half, y + 7.0), "middle"),
        ]
    }

    /// Returns whether the area is within the axes. A label beside a point on an axis may cross it
    /// by half the label's height.
    fn is_inside(&self) -> bool {
        let beside = 7.0;
        self.left >= LEFT
            && self.right <= WIDTH
            && self.top >= TOP - beside
            && self.bottom <= HEIGHT - BOTTOM + beside
    }

    fn meets(&self, other: &Self) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }
}

/// Renders lines on two logarithmic axes.
pub(crate) fn lines(title: &str, units: Units, names: (&str, &str), lines: &[Line]) -> String {
    let all = || lines.iter().flat_map(|line| line.points.iter());
    let x_range = decades(all().map(|(x, _)| *x));
    let y_range = decades(all().map(|(_, y)| *y));
    let mut out = open(title, WIDTH, HEIGHT);
    axes(&mut out, (x_range, y_range), units, names);
    for line in lines {
        let path: Vec<String> = line
            .points
            .iter()
            .map(|(x, y)| format!("{:.1},{:.1}", place_x(*x, x_range), place_y(*y, y_range)))
            .collect();
        _ = writeln!(
            out,
            "<polyline class=\"line {}\" points=\"{}\"><title>{}</title></polyline>",
            escape(&line.class),
            path.join(" "),
            escape(&line.label)
        );
        if let Some((x, y)) = line.points.first() {
            _ = writeln!(
                out,
                "<text class=\"start\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                place_x(*x, x_range) + 8.0,
                place_y(*y, y_range) - 8.0,
                escape(&line.label)
            );
        }
    }
    out + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_do_not_overlap_points_or_labels() {
        let point = |label: &str, x: f64, y: f64| Point {
            label: label.to_owned(),
            class: "lattice".to_owned(),
            x,
            y,
        };
        let crowd: Vec<_> = (0..40)
            .map(|n| point("mlkem1024-p384", 1e3 + f64::from(n), 50.0 + f64::from(n)))
            .collect();
        let unit: fn(f64) -> String = |value| value.to_string();
        let svg = scatter("t", (unit, unit), ("x", "y"), &crowd);
        assert_eq!(svg.matches("<circle").count(), 40);
        assert!(svg.matches("class=\"point").count() < 8, "{svg}");
        let apart = [
            point("a", 1.0, 1.0),
            point("b", 1e3, 1e3),
            point("c", 1.0, 1e3),
        ];
        let svg = scatter("t", (unit, unit), ("x", "y"), &apart);
        assert_eq!(svg.matches("class=\"point").count(), 3, "{svg}");
    }

    #[test]
    fn axes_enclose_the_values_and_markup_in_names_is_escaped() {
        assert_eq!(decades([3.0, 450.0].into_iter()), (0, 3));
        assert_eq!(decades([10.0, 10.0].into_iter()), (1, 2));
        assert_eq!(decades(std::iter::empty()), (0, 1));
        assert!((share(10.0, (0, 2)) - 0.5).abs() < 1e-9);
        let bar = Bar {
            label: "<b>&\"".to_owned(),
            class: "lattice".to_owned(),
            value: 5.0,
            text: "5".to_owned(),
        };
        let svg = bars("t", |value| value.to_string(), &[bar]);
        assert!(
            svg.contains("&lt;b&gt;&amp;&quot;") && !svg.contains("<b>&"),
            "{svg}"
        );
    }
}
