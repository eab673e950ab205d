"""The style sheet of the page."""

# Colours are mixed with the theme's own, so that light and dark both work.
STYLE = """<style>
.imgcap-name { font-size: .8rem; opacity: .65; margin: .35rem 0 0; overflow-wrap: anywhere; }
.imgcap-caption {
  font-size: 1.45rem; line-height: 1.5; font-weight: 500; margin: 0 0 .35rem;
  overflow-wrap: anywhere;
}
.imgcap-caption span { border-radius: .25rem; padding: .05rem .15rem; }
.imgcap-facts { font-size: .85rem; opacity: .7; margin: 0 0 1.2rem; }
.imgcap-trust { font-size: .95rem; font-weight: 600; margin: 0 0 .35rem; }
.imgcap-trust span { font-weight: 400; opacity: .7; }
.imgcap-trust::before {
  content: ""; display: inline-block; width: .6rem; height: .6rem; border-radius: 50%;
  margin-right: .45rem;
}
.imgcap-sure::before { background: #3aa66f; }
.imgcap-fairly-sure::before { background: #e0a030; }
.imgcap-unsure::before { background: #c9473d; }
ul.imgcap-beams { list-style: none; padding: 0 !important; margin: 0 0 1rem; font-size: .92rem; }
ul.imgcap-beams li { margin: 0 0 .5rem !important; padding: 0 !important; }
ul.imgcap-beams .bar { height: .3rem; border-radius: .15rem; background: #4a8fe7;
  margin-top: .15rem; }
.imgcap-label { font-size: .8rem; opacity: .65; margin: .6rem 0 .3rem; }
.imgcap-note {
  border-left: .25rem solid #e0a030; background: rgba(224, 160, 48, .12); padding: .7rem 1rem;
  border-radius: .25rem; margin: 0 0 .5rem; overflow-wrap: anywhere;
}
.imgcap-ready { font-size: .9rem; opacity: .8; margin: 0; }
.imgcap-ready::before {
  content: ""; display: inline-block; width: .6rem; height: .6rem; border-radius: 50%;
  background: #3aa66f;
  margin-right: .45rem;
}
.imgcap-away::before { background: #c9473d; }
/* The browser alone shows this if an answer is slow: the page's process is waiting and cannot. */
.imgcap-slow { visibility: hidden; animation: imgcap-show 0s 5s forwards; }
@keyframes imgcap-show { to { visibility: visible; } }
</style>"""
