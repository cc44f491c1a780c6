// A click on a window, or on the picture above them, plays it; a second one, or its end, stops.
() => {
  let playing = null; // the window that is played

  const stop = () => {
    if (!playing) return;
    const { audio, row } = playing;
    playing = null;
    row.querySelector("button").ariaPressed = "false";
    audio.pause();
    audio.currentTime = Number(row.dataset.start);
  };

  const watch = () => {
    if (!playing) return;
    const { audio, row } = playing;
    if (audio.ended || audio.currentTime >= Number(row.dataset.end) || !row.isConnected) stop();
    else requestAnimationFrame(watch);
  };

  const play = (row) => {
    const again = playing?.row === row;
    stop();
    const audio = document.querySelector("#recording audio");
    if (again || !audio) return;
    playing = { audio, row };
    const button = row.querySelector("button");
    button.ariaPressed = "true";
    audio.currentTime = Number(row.dataset.start);
    audio.play().then(watch, (error) => {
      if (error.name === "AbortError") return; // stopped before it began
      button.title = "This browser cannot play the recording";
      stop();
    });
  };

  const windowAt = (picture, event) => {
    const { left, width } = picture.getBoundingClientRect();
    const time = ((event.clientX - left) / width) * Number(picture.parentElement.dataset.duration);
    const rows = [...picture.closest(".ser").querySelectorAll(".window")];
    return rows.find((row) => Number(row.dataset.start) <= time && time < Number(row.dataset.end));
  };

  document.addEventListener("click", (event) => {
    const picture = event.target.closest(".lanes svg");
    const row = picture ? windowAt(picture, event) : event.target.closest(".window");
    if (row) play(row);
  });
}
