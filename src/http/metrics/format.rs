//! The two text formats of metrics, and content negotiation between them.

/// A format.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Format {
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// The older text format of Prometheus, 0.0.4, for tools that support only this one.
    Text,
}

impl Format {
    /// The format that these `Accept` headers prefer (RFC 9110 §12.5.1). `OpenMetrics`, unless text is preferred.
    pub(super) fn wanted<'a>(accept: impl IntoIterator<Item = &'a str>) -> Self {
        let mut weights = Weights::default();
        for range in accept.into_iter().flat_map(|list| list.split(',')) {
            weights.take(range);
        }
        if weights.text() > weights.open_metrics() { Self::Text } else { Self::OpenMetrics }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => prometheus_client::encoding::prometheus_text::CONTENT_TYPE,
        }
    }
}

/// The highest weight, in thousandths, of each range that covers one of the formats.
#[derive(Default)]
struct Weights {
    open_metrics: Option<u32>,
    application: Option<u32>,
    text_plain: Option<u32>,
    text: Option<u32>,
    any: Option<u32>,
}

impl Weights {
    fn take(&mut self, range: &str) {
        let mut parts = range.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
        let parameters = parts.filter_map(|part| part.split_once('='));
        let mut weight = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("q")).map(|(_, q)| q.trim());
        let weight = weight.next_back().map_or(1.0, |q| q.parse::<f32>().unwrap_or(0.0)).clamp(0.0, 1.0);
        let slot = match media_type.as_str() {
            "application/openmetrics-text" => &mut self.open_metrics,
            "application/*" => &mut self.application,
            "text/plain" => &mut self.text_plain,
            "text/*" => &mut self.text,
            "*/*" => &mut self.any,
            _ => return,
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
        let thousandths = (weight * 1000.0) as u32;
        *slot = (*slot).max(Some(thousandths));
    }

    /// The more specific range has precedence.
    fn open_metrics(&self) -> u32 {
        self.open_metrics.or(self.application).or(self.any).unwrap_or(0)
    }

    fn text(&self) -> u32 {
        self.text_plain.or(self.text).or(self.any).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header of Prometheus 3.
    const PROMETHEUS: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
        application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
        text/plain;version=0.0.4;q=0.2,*/*;q=0.1";

    #[test]
    fn a_client_gets_the_format_that_it_prefers() {
        for (accept, wanted) in [
            (&[][..], Format::OpenMetrics),
            (&["*/*"], Format::OpenMetrics),
            (&[PROMETHEUS], Format::OpenMetrics),
            (&["application/openmetrics-text, text/plain"], Format::OpenMetrics),
            (&["text/plain;q=0.5, application/openmetrics-text;q=0.6"], Format::OpenMetrics),
            (&["text/plain;q=0, */*"], Format::OpenMetrics),
            (&["text/html, */*;q=0.8"], Format::OpenMetrics),
            (&["text/plain"], Format::Text),
            (&["Text/Plain ; version=0.0.4"], Format::Text),
            (&["text/*"], Format::Text),
            (&["text/plain, */*;q=0.5"], Format::Text),
            (&["application/json", "text/plain;q=0.1"], Format::Text),
            (&["text/plain, application/openmetrics-text;q=x"], Format::Text),
            (&["application/openmetrics-text;q=0.2, text/plain;q=0.201"], Format::Text),
        ] {
            assert_eq!(Format::wanted(accept.iter().copied()), wanted, "{accept:?}");
        }
    }
}
