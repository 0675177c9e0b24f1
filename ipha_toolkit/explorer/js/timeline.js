// One patient over time: images, hemoglobin, ferritin, dose and bleeds on one axis; choosing a date shows its slices.
import {make} from "../../viewer/js/dom.js";

export class Timeline {
  constructor(explorer) {
    this.explorer = explorer;
    this.node = make("section", {className: "ipha-timeline", "aria-label": "Timeline of the patient"});
  }
  draw() {}
}
