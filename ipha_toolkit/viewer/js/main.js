// What anywidget loads for a slice viewer. Nothing may be exported by the name of `render` but in the default: anywidget
// would take it in its place, also in bundles of other widgets.
import {renderViewer} from "./viewer.js";

export default {render: renderViewer};
