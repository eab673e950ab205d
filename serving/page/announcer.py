"""Brings answers to those who do not see them come: says them aloud, and scrolls to them.

A screen reader says only what changes in a region that was there before. Streamlit replaces its
elements, so a small component holds one region for the whole visit, and copies into it what the
page marks as news.
"""

import html

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

_HTML = '<div class="region" role="status" aria-live="polite" aria-atomic="true"></div>'

_CSS = """.region {
  position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap;
}"""

# Progress is said at most every `PAUSE` milliseconds; a screen reader could say nothing else.
_JS = """
const PAUSE = 8000, SCROLLING = 700, TRIES = 20;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export default function ({ parentElement }) {
  const region = parentElement.querySelector(".region");
  const main = document.querySelector('[data-testid="stMain"]') ?? document.body;
  let arrival = "0", said = "", spoken = 0, wanted = false, tries = 0, timer = 0;

  function say() {
    const news = [...main.querySelectorAll(".imgcap-say")].at(-1);
    const text = news?.textContent ?? "";
    if (!text || text === said) return;
    const progress = news.classList.contains("imgcap-progress");
    if (progress && Date.now() - spoken < PAUSE) return;
    said = region.textContent = text;
    spoken = Date.now();
  }

  function scroll() {
    const answer = main.querySelector(".imgcap-answer");
    if (!answer) return;
    if (answer.dataset.arrival !== arrival) [wanted, tries] = [true, TRIES];
    arrival = answer.dataset.arrival;
    const top = answer.getBoundingClientRect().top;
    if (!wanted || timer) return;
    if (tries-- === 0 || (top > 0 && top < innerHeight / 4)) { wanted = false; return; }
    answer.scrollIntoView({ behavior: calm.matches ? "auto" : "smooth", block: "start" });
    // The page may be too short yet to scroll so far, or its growing may end the movement.
    timer = setTimeout(() => { timer = 0; scroll(); }, SCROLLING);
  }

  // Where visitors go by themselves they are not taken away from.
  const stop = () => { wanted = false; };
  const acts = ["wheel", "touchmove", "pointerdown", "keydown"];
  acts.forEach(act => addEventListener(act, stop, { passive: true }));

  const observer = new MutationObserver(() => { scroll(); say(); });
  observer.observe(main, { childList: true, subtree: true, characterData: true });
  scroll();
  say();
  return () => {
    observer.disconnect();
    clearTimeout(timer);
    acts.forEach(act => removeEventListener(act, stop));
  };
}
"""


def start_announcer() -> None:
    """Draws the region, once a run and always at the same place, so that it stays."""
    st.components.v2.component("imgcap_announcer", html=_HTML, css=_CSS, js=_JS)(key="announcer")


def mark_arrival(number: int) -> None:
    """Draws the place that the page scrolls to whenever the number changes."""
    st.html(f'<div class="imgcap-answer" data-arrival="{number}"></div>')


def say(slot: DeltaGenerator, text: str) -> None:
    """Has a text said, without showing it."""
    slot.html(f'<p class="imgcap-say imgcap-hidden" aria-hidden="true">{html.escape(text)}</p>')


def show_progress(slot: DeltaGenerator, text: str) -> None:
    """Shows a line on what was done, and has it said now and then."""
    slot.html(f'<p class="imgcap-say imgcap-progress">{html.escape(text)}</p>')
