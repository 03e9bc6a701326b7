import { createRoot } from "react-dom/client";
import { Documents } from "./Documents";

createRoot(document.getElementById("app")!).render(<Documents />);
