// What anywidget loads for a slice viewer.
import {render} from "./viewer.js";

export default {render};
