//! The figures of the article that started Casemate, for comparison with measured ones. The article
//! names neither machine nor method. It uses the round-3 names of algorithms, which are compared
//! with the rows of the final standards.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

use crate::rows::{Primitive, Stated, StatedSizes, StatedTime};

/// The figures of the article.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Article {
    /// Its title.
    pub(crate) title: String,
    rows: Vec<Row>,
    /// Errors in the sizes that the article states, by algorithm and key.
    pub(crate) size_errors: BTreeMap<String, String>,
    overhead_percent: BTreeMap<String, (u32, u32)>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    measured_as: Vec<String>,
    milliseconds: BTreeMap<String, f64>,
    bytes: StatedSizes,
}

static ARTICLE: LazyLock<Article> = LazyLock::new(|| {
    let text = include_str!("../assets/article.json");
    serde_json::from_str(text).unwrap_or_else(|error| unreachable!("a test reads it: {error}"))
});

pub(crate) fn article() -> &'static Article {
    &ARTICLE
}

impl Article {
    /// Returns the overhead that the article states for a workload, `gradients`, `checkpoints` or
    /// `rounds`, as text.
    pub(crate) fn overhead(&self, workload: &str) -> String {
        let found = self.overhead_percent.get(workload);
        found.map_or_else(String::new, |(low, high)| format!("+{low} to {high} %"))
    }

    fn row(&self, measured: &str) -> Option<&Row> {
        let mut rows = self.rows.iter();
        rows.find(|row| row.measured_as.iter().any(|name| name == measured))
    }
}

/// Adds the article's figures to each row that it covers.
pub(crate) fn annotate(rows: &mut [Primitive]) {
    for row in rows {
        if let Some(stated) = article().row(&row.name) {
            annotate_row(row, stated);
        }
    }
}

fn annotate_row(row: &mut Primitive, stated: &Row) {
    row.article = Some(Stated {
        name: stated.name.clone(),
        sizes: stated.bytes,
    });
    for operation in &mut row.operations {
        let time = stated.milliseconds.get(&operation.name);
        operation.article = time.map(|ms| StatedTime {
            us: ms * 1e3,
            ratio: ms * 1e3 / operation.timing.median_us.max(1e-3),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives;

    #[test]
    fn every_row_of_the_article_is_measured() {
        assert_eq!(article().rows.len(), 5);
        for row in &article().rows {
            for name in &row.measured_as {
                // Falcon has no final standard and is only in the catalogue build.
                let is_here = primitives::subject(name).is_some();
                assert!(is_here || name == "FN-DSA-1024", "{name}");
            }
        }
        assert_eq!(article().overhead("gradients"), "+15 to 25 %");
        assert_eq!(article().overhead("other"), "");
        let named = |name: &String| article().rows.iter().any(|row| name.starts_with(&row.name));
        assert!(article().size_errors.keys().all(named));
    }
}
