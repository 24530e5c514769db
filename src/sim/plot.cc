#include "sim/plot.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

namespace millrace::sim {
namespace {

constexpr double kWidth = 860, kHeight = 420;                         // pixels
constexpr double kLeft = 60, kRight = 700, kTop = 40, kBottom = 370;  // of the axes
constexpr int kPoints = 200;                                          // per curve

struct Curve {
  const char* name;
  const char* color;
  const Histogram* values;
};

// The decades of milliseconds that hold all values.
struct Axis {
  int low = 0;
  int high = 1;
  double x(double ms) const {
    double place = (std::log10(std::max(ms, 1e-6)) - low) / (high - low);
    return kLeft + std::clamp(place, 0.0, 1.0) * (kRight - kLeft);
  }
};

double ms(Tick ns) { return static_cast<double>(ns) * 1e-6; }
double y(double share) { return kBottom - share * (kBottom - kTop); }

Axis axis_of(std::initializer_list<Curve> curves) {
  double low = 1e9;
  double high = 1e-3;
  for (const Curve& curve : curves) {
    if (curve.values->count() == 0) continue;
    low = std::min(low, ms(curve.values->percentile(0.01)));
    high = std::max(high, ms(curve.values->largest()));
  }
  Axis axis{.low = static_cast<int>(std::floor(std::log10(std::max(std::min(low, high), 1e-3))))};
  axis.high = std::max(axis.low + 1, static_cast<int>(std::ceil(std::log10(high))));
  return axis;
}

std::string escape(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '<') {
      out += "&lt;";
    } else if (c == '&') {
      out += "&amp;";
    } else if (c >= 0x20) {
      out += c;
    }
  }
  return out;
}

std::string grid(const Axis& axis) {
  std::string out;
  for (int decade = axis.low; decade <= axis.high; ++decade) {
    double x = axis.x(std::pow(10.0, decade));
    out += fmt::format("<path d=\"M{:.1f} {}V{}\" stroke=\"#ddd\"/><text x=\"{:.1f}\" y=\"{}\">{:g}</text>\n", x, kTop,
                       kBottom, x, kBottom + 18, std::pow(10.0, decade));
  }
  for (int percent = 0; percent <= 100; percent += 25) {
    double at = y(percent / 100.0);
    out += fmt::format("<path d=\"M{} {:.1f}H{}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1f}\">{} %</text>\n", kLeft,
                       at, kRight, kLeft - 28, at + 4, percent);
  }
  return out;
}

std::string line_of(const Axis& axis, const Curve& curve, double legend_y) {
  std::string path;
  for (int i = 0; i <= kPoints; ++i) {
    double share = static_cast<double>(i) / kPoints;
    path += fmt::format("{}{:.1f} {:.1f}", i == 0 ? "M" : "L", axis.x(ms(curve.values->percentile(share))), y(share));
  }
  return fmt::format(
      "<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>\n<text x=\"{}\" y=\"{:.0f}\" fill=\"{}\" "
      "text-anchor=\"start\">{}: p50 {:.1f}, p99 {:.1f} ms</text>\n",
      path, curve.color, kRight + 8, legend_y, curve.color, curve.name, ms(curve.values->percentile(0.5)),
      ms(curve.values->percentile(0.99)));
}

std::string bound(const Axis& axis, Tick at, const char* color) {
  if (at == 0) return {};
  return fmt::format("<path d=\"M{:.1f} {}V{}\" stroke=\"{}\" stroke-dasharray=\"4 4\"/>\n", axis.x(ms(at)), kTop,
                     kBottom, color);
}

}  // namespace

std::string plot_svg(const Report& report, const std::string& title) {
  const std::initializer_list<Curve> curves = {{"ttft", "#c33", &report.ttft},
                                               {"tbt", "#36c", &report.tbt},
                                               {"tpot", "#393", &report.tpot},
                                               {"e2e", "#777", &report.e2e}};
  Axis axis = axis_of(curves);
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" "
      "font-family=\"sans-serif\" font-size=\"12\" text-anchor=\"middle\">\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"{2}\" y=\"24\" font-size=\"14\">{3}</text>\n",
      kWidth, kHeight, (kLeft + kRight) / 2, escape(title));
  out += grid(axis);
  out += bound(axis, report.slo.ttft, "#c33") + bound(axis, report.slo.tpot, "#393");
  double legend_y = kTop + 12;
  for (const Curve& curve : curves) {
    if (curve.values->count() == 0) continue;
    out += line_of(axis, curve, legend_y);
    legend_y += 18;
  }
  out += fmt::format("<text x=\"{}\" y=\"{}\">milliseconds</text>\n</svg>\n", (kLeft + kRight) / 2, kBottom + 38);
  return out;
}

}  // namespace millrace::sim
